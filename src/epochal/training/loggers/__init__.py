"""Loggers."""

from epochal.training.loggers.csv import CSVLogger
from epochal.training.loggers.logger import Logger

__all__ = ["CSVLogger", "Logger"]
