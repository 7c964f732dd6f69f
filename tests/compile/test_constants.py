"""What compiled code takes as a constant, marked without an import of the compiler."""

from __future__ import annotations

import torch

from epochal import check


def test_our_mark_is_all_that_torchs_own_leaves():
    def ours(): ...

    def theirs(): ...

    torch.compiler.assume_constant_result(theirs)
    assert vars(check.constant_result(ours)) == vars(theirs) != {}
