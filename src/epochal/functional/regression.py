"""The functions of :mod:`epochal.regression`."""

from epochal.regression.mean_squared_error import mean_squared_error

__all__ = ["mean_squared_error"]
