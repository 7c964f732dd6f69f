"""The functions of :mod:`epochal.nominal`."""

from epochal.nominal.association import cramers_v, cramers_v_matrix
from epochal.paths import answer_to

__all__ = ["cramers_v", "cramers_v_matrix"]

answer_to(__name__, "cramers")
