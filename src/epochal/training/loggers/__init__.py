"""Loggers."""

from epochal.paths import answer_to
from epochal.training.loggers.csv import CSVLogger
from epochal.training.loggers.logger import Logger
from epochal.training.loggers.tensorboard import TensorBoardLogger

__all__ = ["CSVLogger", "Logger", "TensorBoardLogger"]

answer_to(__name__, "csv_logs")
