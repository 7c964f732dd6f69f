"""One plot for a value: a scalar, a vector, a matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from epochal import check

LABELLED = 30  # rows of a matrix up to which each cell shows its number


def plot_value(value: Any, ax: Any = None, name: str | None = None) -> tuple[Any, Any]:
    """Draw a value: a scalar as a point, a vector as bars, a 2-D matrix as a labelled heat map.

    Returns matplotlib's figure and axes; ``ax`` draws into axes that are there. Raises ModuleNotFoundError, naming the extra
    ``plot``, where matplotlib is missing, and ValueError for other shapes.
    """
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        text = check.message("plot", "matplotlib is not installed", "it draws", "Install it by: pip install epochal[plot]")
        raise ModuleNotFoundError(text) from error
    data = torch.as_tensor(value).detach().cpu() if isinstance(value, Tensor | int | float) else value
    if not isinstance(data, Tensor) or data.ndim > 2:
        came = f"value has shape {check.shape(data)}" if isinstance(data, Tensor) else f"value is a {type(data).__name__}"
        check.fail(name or "plot", came, "a scalar, a vector or a matrix is needed", "Plot its parts one by one.")
    if ax is None:
        _, ax = plt.subplots()
    if data.ndim == 2:
        _matrix(ax, data)
    elif data.ndim == 1:
        ax.bar(range(len(data)), data.tolist())
        ax.set_xticks(range(len(data)))
    else:
        ax.plot([0], [data.item()], "o")
        ax.annotate(f"{data.item():.4g}", (0, data.item()), textcoords="offset points", xytext=(8, 4))
        ax.set_xticks([])
    if name:
        ax.set_title(name)
    return ax.figure, ax


def _matrix(ax: Any, data: Tensor) -> None:
    image = ax.imshow(data.double().numpy(), cmap="Blues")
    ax.figure.colorbar(image, ax=ax)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    rows, columns = data.shape
    ax.set_xticks(range(columns))
    ax.set_yticks(range(rows))
    if max(rows, columns) > LABELLED:
        return
    middle = (data.double().min() + data.double().max()).item() / 2
    for row in range(rows):
        for column in range(columns):
            number = data[row, column].item()
            text = str(number) if isinstance(number, int) else f"{number:.2g}"
            ax.text(column, row, text, ha="center", va="center", color="white" if number > middle else "black", fontsize=8)
