from .mean_ap import MeanAveragePrecision as MeanAveragePrecision
