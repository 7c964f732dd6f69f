"""The functions of :mod:`epochal.segmentation`."""

from epochal.segmentation.dice import dice_score
from epochal.segmentation.mean_iou import mean_iou

__all__ = ["dice_score", "mean_iou"]
