"""Examples of regression metrics."""

from __future__ import annotations

from tests.laws.data import numbers, row

row("MeanSquaredError", "scalar", numbers(inputs=2), function="mean_squared_error")
row("MeanSquaredError", "root", numbers(5, inputs=2), {"squared": False}, function="mean_squared_error")
row("MeanSquaredError", "outputs", numbers(3, inputs=2), {"num_outputs": 3}, function="mean_squared_error")
