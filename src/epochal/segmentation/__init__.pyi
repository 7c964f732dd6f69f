from .dice import DiceScore as DiceScore
from .mean_iou import MeanIoU as MeanIoU
