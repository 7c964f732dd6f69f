"""The functions of :mod:`epochal.segmentation`."""

from epochal.paths import answer_to
from epochal.segmentation.dice import dice_score
from epochal.segmentation.mean_iou import mean_iou

__all__ = ["dice_score", "mean_iou"]

answer_to(__name__, "dice mean_iou")
