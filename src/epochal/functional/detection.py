"""The functions of :mod:`epochal.detection`."""

from epochal.detection.mean_ap import mean_average_precision

__all__ = [
    "mean_average_precision",
]
