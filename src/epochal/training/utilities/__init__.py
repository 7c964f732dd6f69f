"""Lightning's path to what modules use beside it: ``from epochal.training.utilities import rank_zero_only``."""

from lightning_fabric.utilities import AttributeDict, move_data_to_device

from epochal.paths import answer_to
from epochal.training.combined import CombinedLoader
from epochal.training.utilities.rank_zero import rank_zero_deprecation, rank_zero_info, rank_zero_only, rank_zero_warn

__all__ = [
    "AttributeDict",
    "CombinedLoader",
    "move_data_to_device",
    "rank_zero_deprecation",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
]

answer_to(__name__, "apply_func distributed parsing")
