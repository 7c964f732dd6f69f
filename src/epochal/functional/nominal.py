"""The functions of :mod:`epochal.nominal`."""

from epochal.nominal.association import cramers_v, cramers_v_matrix

__all__ = ["cramers_v", "cramers_v_matrix"]
