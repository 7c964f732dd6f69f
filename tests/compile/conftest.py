"""What makes tests that compile slow, apart from compiling."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest

logging.getLogger("torch.__trace").propagate = False  # thousands of lines that pytest would keep


@pytest.fixture(autouse=True, scope="package")
def frozen() -> Iterator[None]:
    """``torch.compiler.reset`` collects garbage, a quarter of a second each time among all that a session has imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
