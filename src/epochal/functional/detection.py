"""The functions of :mod:`epochal.detection`."""

from epochal.detection.iou import (
    complete_intersection_over_union,
    distance_intersection_over_union,
    generalized_intersection_over_union,
    intersection_over_union,
)
from epochal.detection.mean_ap import mean_average_precision
from epochal.paths import answer_to

__all__ = [
    "complete_intersection_over_union",
    "distance_intersection_over_union",
    "generalized_intersection_over_union",
    "intersection_over_union",
    "mean_average_precision",
]

answer_to(__name__, "ciou diou giou iou map")
