"""Pictures of values, on matplotlib.

What a class has as ``plot`` says how its results are drawn; a metric of the first kind needs to say nothing:

    values              by the shape: a number is a point, a vector bars, a dictionary named bars, a mean with its std an error
                        bar, a table a heat map, and a list of values lines over steps
    matrix              a confusion matrix, or one for each label
    curve(x=, y=)       lines through the points of a result that is a tuple

The ``plot_*`` attributes of a metric are its looks: its title, its bounds, and what the entries of a result are.

Without ``ax``, pyplot makes a figure, for ``plt.show()``. Axes, or a ``matplotlib.figure.Figure``, are drawn into, and then pyplot
is not even imported: a logger passes a plain ``Figure()`` each epoch, which nobody has to close.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from epochal import check
from epochal.extras import library

if TYPE_CHECKING:
    from epochal.collection import MetricCollection
    from epochal.metric import Metric

__all__ = ["curve", "draw", "each", "matrix", "plot_value", "together", "values"]

Array: TypeAlias = npt.NDArray[Any]
Drawn: TypeAlias = tuple[Any, Any]  # matplotlib's figure and axes

EACH = 30  # entries up to which each has its bar, tick or marker
WRITTEN = 12  # bars up to which each has its value above
READABLE = 5.5  # points: cells with less room stay without numbers
COLUMN = 18  # entries in a column of a legend


@dataclass(frozen=True)
class Looks:
    """What surrounds the data."""

    title: str = ""
    entry: str = "Index"  # what an entry of a vector is: a class, a label, an output
    labels: Sequence[str] | None = None  # the names of the entries
    low: float | None = None
    high: float | None = None
    better: bool | None = None  # whether higher is

    @classmethod
    def of(cls, metric: Metric, labels: Sequence[str] | None = None) -> Looks:
        return cls(
            metric.plot_title or type(metric).__name__,
            metric.plot_legend_name or "Index",
            metric.plot_labels if labels is None else labels,
            metric.plot_lower_bound,
            metric.plot_upper_bound,
            metric.higher_is_better,
        )

    def ticks(self, size: int) -> list[str]:
        """The names of the entries, or their numbers."""
        labels: Sequence[Any] = range(size) if self.labels is None else self.labels
        if len(labels) != size:
            check.fail(self.title or "plot", f"labels has {len(labels)} names", f"there are {size} entries", "Pass one for each.")
        return [str(label) for label in labels]

    def names(self, size: int) -> list[str]:
        """The same where no axis says what they are."""
        return self.ticks(size) if self.labels is not None else [f"{self.entry} {tick}" for tick in self.ticks(size)]


# --- the three ways ----------------------------------------------------------------------------------------------------------


def values(self: Metric, val: Any = None, ax: Any = None, *, labels: Sequence[str] | None = None) -> Drawn:
    """Draw a value of this metric, by its shape; returns matplotlib's figure and axes.

    Args:
        val: a result, or a list of results: those of several steps. Default: the current one.
        ax: axes or a ``matplotlib.figure.Figure`` to draw into. Default: a figure of pyplot.
        labels: the names of the classes, labels or outputs, where there is a value for each.
    """
    return draw(self.compute() if val is None else val, ax, Looks.of(self, labels))


def matrix(
    self: Metric, val: Any = None, ax: Any = None, add_text: bool = True, labels: Sequence[str] | None = None, cmap: Any = None
) -> Drawn:
    """Draw a confusion matrix, or one for each label; returns matplotlib's figure and axes.

    Args:
        val: ``(C, C)`` or ``(num_labels, 2, 2)``. Default: the current one.
        ax: axes, as many as there are matrices, or a ``matplotlib.figure.Figure``. Default: a figure of pyplot.
        add_text: write each number into its cell, where there is room.
        labels: the names of the classes, or of the labels of a multilabel task.
        cmap: a colormap of matplotlib. Default: "Blues".
    """
    data, looks = _array(self, self.compute() if val is None else val), Looks.of(self, labels)
    if data.ndim not in (2, 3) or data.shape[-1] != data.shape[-2]:
        check.fail(self, f"val has shape {data.shape}", "(C, C) or (num_labels, 2, 2) is needed", "Plot one result at a time.")
    if data.ndim == 2:
        side = min(14.0, max(4.8, 1.5 + 0.3 * len(data)))
        axes, _ = _axes(ax, (1.1 * side, side))
        names, panels = looks.ticks(len(data)), [axes]
        _heat(axes, data, names, names, cmap, add_text)
    else:
        rows, columns = _grid(len(data))
        size = max(4.0, 2.6 * columns), max(3.6, 2.6 * rows + 0.4)
        panels = _places(self, ax, len(data), "subplots", size)
        axes = np.array(panels)
        for one, table, name in zip(panels, data, looks.names(len(data)), strict=True):
            _heat(one, table, ["0", "1"], ["0", "1"], cmap, add_text)
            one.set_title(name)
    for one in panels:
        one.set_xlabel("Predicted")
        one.set_ylabel("True")
    return _titled(axes, looks.title)


def area(x: Array, y: Array) -> float:
    """The area under a curve by the trapezoidal rule, whichever way it runs."""
    return abs(float((np.diff(x) * (y[1:] + y[:-1])).sum())) / 2


def curve(x: tuple[str, int], y: tuple[str, int], score: Callable[[Array, Array], float] = area) -> Callable[..., Drawn]:
    """A ``plot`` for results that are tuples of points.

    ``x``, ``y``: the name of the axis, and where in the tuple its points are: ``curve(x=("Recall", 1), y=("Precision", 0))``.
    Points are a vector, or a list or matrix with a row for each class. ``score``: what is computed for ``score=True``.
    """
    scored = score

    def plot(self: Metric, curve: Any = None, score: Any = None, ax: Any = None, *, labels: Sequence[str] | None = None) -> Drawn:
        """Draw the curve, with a line for each class; returns matplotlib's figure and axes.

        Args:
            curve: a result. Default: the current one.
            score: the area under the curve, or under each, to be shown; True to have it computed.
            ax: axes or a ``matplotlib.figure.Figure`` to draw into. Default: a figure of pyplot.
            labels: the names of the classes.
        """
        result, looks = self.compute() if curve is None else curve, Looks.of(self, labels)
        if not isinstance(result, list | tuple) or len(result) <= max(x[1], y[1]):
            check.fail(self, f"curve is a {type(result).__name__}", "a tuple as compute returns it is needed")
        lines = list(zip(_lines(self, result[x[1]]), _lines(self, result[y[1]]), strict=True))
        single = isinstance(result[x[1]], Tensor) and result[x[1]].ndim == 1
        names = [""] if single else looks.names(len(lines))
        if score is not None and score is not False:
            areas = [scored(*line) for line in lines] if score is True else np.atleast_1d(_array(self, score)).tolist()
            if len(areas) != len(lines):
                check.fail(self, f"score has {len(areas)} values", f"there are {len(lines)} curves", "Pass one for each, or True.")
            names = [f"{name} AUC={number:.3f}".strip() for name, number in zip(names, areas, strict=True)]
        axes, own = _axes(ax)
        for name, line, color in zip(names, lines, _colors(len(lines)), strict=True):
            axes.plot(*line, label=name or None, color=color)
        axes.set_xlabel(x[0])
        axes.set_ylabel(y[0])
        if names != [""]:
            _legend(axes, own)
        return _titled(axes, looks.title)

    return plot


def plot_value(value: Any, ax: Any = None, name: str | None = None) -> Drawn:
    """Draw a value by its shape, without a metric; returns matplotlib's figure and axes.

    Raises ModuleNotFoundError, naming the extra ``plot``, where matplotlib is missing, and ValueError for a value that has no
    picture.
    """
    return draw(value, ax, Looks(name or ""))


# --- collections -------------------------------------------------------------------------------------------------------------


def each(owner: object, results: Sequence[tuple[str, Callable[..., Any], Any]], ax: Any) -> list[Any]:
    """A picture of each result, given with its title and what draws it: figures of pyplot, or the places in ``ax``."""
    places = [None] * len(results) if ax is None else _places(owner, ax, len(results), "subfigures")
    drawn = [plot(result, ax=place) for place, (_, plot, result) in zip(places, results, strict=True)]
    return [one if isinstance(one, list) else _titled(one[1], title) for one, (title, *_) in zip(drawn, results, strict=True)]


def together(metrics: MetricCollection, results: Any, ax: Any) -> Drawn:
    """All results in one picture, which looks as far as the members agree."""
    for name, result in (item for row in (results if isinstance(results, list) else [results]) for item in row.items()):
        if isinstance(result, list | tuple) or (isinstance(result, Tensor) and result.ndim > 1):
            check.fail(metrics, f"result {name!r} has a picture of its own", "together=True", "Pass together=False.")
    looks = [Looks.of(metric) for metric in metrics.values()]

    def agreed(field: Field[Any]) -> Any:
        found = [getattr(look, field.name) for look in looks]
        return found[0] if found and all(value == found[0] for value in found) else field.default

    common = Looks(**{field.name: agreed(field) for field in fields(Looks)})
    return draw(results, ax, replace(common, title=type(metrics).__name__))


# --- values, by their shape --------------------------------------------------------------------------------------------------


@dataclass
class Chart:
    """Series under names, over entries or steps."""

    series: dict[str, Array]
    ticks: list[str] | None = None  # of the entries; None: they are steps
    axis: str = ""
    errors: dict[str, Array] | None = None


def draw(value: Any, ax: Any, looks: Looks) -> Drawn:
    """Draw a value by its shape; of a list, each of its values as a step."""
    if isinstance(value, list):
        return _draw_chart(_steps(value, looks), ax, looks)
    parts = _parts(looks, value)
    if len(parts) == 1 and (table := next(iter(parts.values()))).ndim == 2:
        return _draw_table(table, ax, looks)
    if not _is_spread(value):
        return _draw_chart(_entries(parts, looks), ax, looks)
    chart = _entries(_parts(looks, value["mean"]), looks)
    chart.errors = _entries(_parts(looks, value["std"]), looks).series
    figure, axes = _draw_chart(chart, ax, looks)
    for key, marker, size in (("raw", ".", 3), ("quantile", "_", 14)):
        if key in parts:
            cloud = parts[key].reshape(-1, len(chart.ticks or [""]))
            axes.plot(np.indices(cloud.shape)[1].ravel(), cloud.ravel(), marker, markersize=size, color="0.6", zorder=1, label=key)
            _legend(axes, ax is None)
    return figure, axes


def _is_spread(value: Any) -> bool:
    """Whether a value is a mean and its std, with what else a bootstrap says."""
    return isinstance(value, Mapping) and {"mean", "std"} <= set(value) <= {"mean", "std", "quantile", "raw"}


def _parts(looks: Looks, value: Any, name: str = "") -> dict[str, Array]:
    """The arrays of a value under their names; without a name, one that stands alone."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, list | tuple):
        value = {f"[{index}]": item for index, item in enumerate(value)}
    if not isinstance(value, Mapping):
        return {name: _array(looks.title or "plot", value)}
    parts: dict[str, Array] = {}
    for key, item in value.items():
        parts.update(_parts(looks, item, f"{name} {key}".strip()))
    return parts


def _flat(parts: Mapping[str, Array], looks: Looks) -> dict[str, float]:
    """A name for each number."""
    out: dict[str, float] = {}
    for name, part in parts.items():
        if part.ndim > 1:
            came = f"a value has shape {part.shape}"
            check.fail(looks.title or "plot", came, "a scalar or a vector is needed here", "Plot its parts one by one.")
        entries = looks.names(len(part)) if part.ndim else [""]
        out.update((f"{name} {entry}".strip(), float(number)) for entry, number in zip(entries, np.atleast_1d(part), strict=True))
    return out


def _entries(parts: Mapping[str, Array], looks: Looks) -> Chart:
    """Vectors of one length, side by side; all else as one series of named numbers."""
    shapes = {part.shape for part in parts.values()}
    if len(shapes) == 1 and len(shape := shapes.pop()) == 1:
        return Chart(dict(parts), looks.ticks(shape[0]), "" if looks.labels else looks.entry)
    flat = _flat(parts, looks)
    return Chart({"": np.array(list(flat.values()))}, list(flat))


def _steps(values: Sequence[Any], looks: Looks) -> Chart:
    """A series for each number of the values; what a step lacks is NaN."""

    def series(values: Sequence[Any]) -> dict[str, Array]:
        rows = [_flat(_parts(looks, value), looks) for value in values]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}

    if values and all(_is_spread(value) for value in values):
        return Chart(series([v["mean"] for v in values]), None, "Step", series([v["std"] for v in values]))
    return Chart(series(values), None, "Step")


def _draw_chart(chart: Chart, ax: Any, looks: Looks) -> Drawn:
    """Points for a single number and for means with errors, bars for a few entries, lines for many and for steps."""
    count, size = len(chart.series), max((len(data) for data in chart.series.values()), default=0)
    number, bars = chart.ticks == [""], chart.ticks is not None and size <= EACH and chart.errors is None
    axes, own = _axes(ax, (min(16.0, max(6.4, 0.3 * size * count)) if bars else 6.4, 4.8))
    for i, ((name, data), color) in enumerate(zip(chart.series.items(), _colors(count), strict=True)):
        style: dict[str, Any] = {"label": name or None, "color": color}
        x, numbers = np.arange(len(data)), data
        data = np.where(np.isfinite(data), data, math.nan)  # infinity is a gap, too
        if bars and not number:
            width = 0.8 / count
            drawn = axes.bar(x + (i - (count - 1) / 2) * width, data, width, **style)
            if size * count <= WRITTEN:
                axes.bar_label(drawn, [f"{value:.3g}" for value in numbers], fontsize=8, padding=2)
            continue
        joined = "" if number or (chart.ticks and chart.errors) else "-"
        (line,) = axes.plot(x, data, joined + ("o" if size <= EACH else ""), markersize=6 if not joined else 4, **style)
        if chart.errors is not None:
            axes.errorbar(x, data, chart.errors[name], fmt="none", ecolor=line.get_color(), capsize=4)
        if number:
            axes.annotate(f"{numbers[0]:.4g}", (0, np.nan_to_num(data[0])), (8, 4), textcoords="offset points")
    if number:
        axes.set_xlim(-1, 1)
        axes.set_xticks([])
    else:
        _set_ticks(axes.xaxis, chart.ticks if chart.ticks is not None and size <= EACH else None)
    axes.set_xlabel(chart.axis)
    _bounds(axes, looks)
    if list(chart.series) not in ([""], []):
        _legend(axes, own)
    return _titled(axes, looks.title)


def _draw_table(data: Array, ax: Any, looks: Looks) -> Drawn:
    """A heat map of a value with a row for each sample, or each class."""
    axes, _ = _axes(ax)
    _heat(axes, data, [str(row) for row in range(len(data))], looks.ticks(data.shape[1]), None, True, "auto")
    axes.set_xlabel("" if looks.labels else looks.entry)
    axes.set_ylabel(looks.entry if looks.labels else "Index")
    return _titled(axes, looks.title)


# --- the parts of a picture --------------------------------------------------------------------------------------------------


def _array(metric: object, value: Any) -> Array:
    """A tensor of any device and dtype, or a number, as an array."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    if not isinstance(value, int | float | np.ndarray | np.generic):
        came = f"a value is a {type(value).__name__}"
        check.fail(metric, came, "a scalar, a vector, a matrix, or a dictionary or list of them is needed", "Plot its parts.")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim > 3:
        came = f"a value has shape {array.shape} and dtype {array.dtype}"
        check.fail(metric, came, "real numbers in a scalar, a vector or a matrix are needed", "Plot its parts one by one.")
    return array


def _lines(metric: object, points: Any) -> list[Array]:
    """A vector for each class."""
    return [_array(metric, row) for row in (points if not isinstance(points, Tensor) or points.ndim > 1 else [points])]


def _pyplot() -> Any:
    return library("plot", "plot", "matplotlib.pyplot", "it draws")


def _figure(ax: Any, size: tuple[float, float] | None = None) -> Any:
    """A new figure, or the one that was given for axes; None for axes."""
    if ax is None:
        return _pyplot().figure(figsize=size, layout="constrained")
    if not hasattr(ax, "add_subplot"):
        return None
    if hasattr(ax, "get_layout_engine") and ax.get_layout_engine() is None:
        ax.set_layout_engine("constrained")
    return ax


def _axes(ax: Any, size: tuple[float, float] | None = None) -> tuple[Any, bool]:
    """The axes to draw into, and whether they are ours."""
    figure = _figure(ax, size)
    return (ax, False) if figure is None else (figure.subplots(), True)


def _grid(count: int) -> tuple[int, int]:
    """Rows and columns, not fewer of these."""
    columns = max(1, math.ceil(math.sqrt(count)))
    return math.ceil(count / columns), columns


def _places(owner: object, ax: Any, count: int, parts: str, size: tuple[float, float] | None = None) -> list[Any]:
    """Where each of several pictures goes: axes that came for them, or equal ``parts`` ("subplots", "subfigures") of a figure."""
    if isinstance(ax, Sequence | np.ndarray) or (figure := _figure(ax, size)) is None:
        places = list(np.ravel(np.asarray(ax, dtype=object)))
        if len(places) != count:
            came = f"ax has {len(places)} axes"
            check.fail(owner, came, f"there are {count} pictures", "Pass axes for each, or a matplotlib.figure.Figure.")
        return places
    places = list(getattr(figure, parts)(*_grid(count), squeeze=False).ravel())
    for spare in places[count:] if parts == "subplots" else []:
        spare.remove()
    return places[:count]


def _heat(axes: Any, data: Array, rows: list[str], columns: list[str], cmap: Any, add_text: bool, aspect: str = "equal") -> None:
    """A heat map with a number in each cell; with a scale instead where there is no room for them."""
    if not data.size:
        return
    image = axes.imshow(data.astype(float), cmap=cmap or "Blues", aspect=aspect)
    numbers = [[_written(number) for number in row] for row in data]
    font = min(10.0, _room(axes, data.shape) / (0.65 * max(len(text) for row in numbers for text in row)))
    if add_text and font >= READABLE:
        colors = image.to_rgba(image.get_array())
        for (row, column), _ in np.ndenumerate(data):
            *color, alpha = colors[row, column]  # NaN is transparent
            dark = alpha * np.dot(color, (0.299, 0.587, 0.114)) + 1 - alpha < 0.5
            axes.text(column, row, numbers[row][column], ha="center", va="center", color="w" if dark else "k", fontsize=font)
    else:
        axes.figure.colorbar(image, ax=axes)
    for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
        _set_ticks(axis, names if len(names) <= 2 * EACH else None)


def _room(axes: Any, cells: tuple[int, ...]) -> float:
    """The width of a cell, in points."""
    points = 72 / axes.figure.dpi
    return float(min(axes.bbox.width / cells[1], 3 * axes.bbox.height / cells[0]) * points)


def _written(number: Any) -> str:
    return str(number) if isinstance(number, np.integer | np.bool_) else f"{number:.2f}"


def _set_ticks(axis: Any, names: list[str] | None) -> None:
    """A tick for each entry, aslant where they would touch; at whole numbers where there are too many, or steps."""
    if names is None:
        from matplotlib.ticker import MaxNLocator

        axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        return
    font = 10 if len(names) <= EACH else 7
    axis.set_ticks(range(len(names)), names, fontsize=font)
    needed = 0.65 * font * len(names) * max((len(name) for name in names), default=0)
    if axis.axis_name == "x" and needed > axis.axes.bbox.width * 72 / axis.axes.figure.dpi:
        for label in axis.get_ticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")


def _bounds(axes: Any, looks: Looks) -> None:
    """Dashed lines at the bounds, and which is the best."""
    for bound, best in ((looks.low, looks.better is False), (looks.high, looks.better is True)):
        if bound is not None and math.isfinite(bound):
            axes.axhline(bound, linestyle="--", linewidth=1, color="tab:green" if best else "0.6", zorder=0)
            if not best:
                continue
            place = {"xytext": (0, 2), "va": "bottom"} if looks.better else {"xytext": (0, -2), "va": "top"}
            across = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "fontsize": 7, "color": "tab:green"}
            axes.annotate("optimal value", (0.01, bound), **place, **across)
    axes.use_sticky_edges = False  # room beside the bounds, below bars too
    axes.margins(y=0.08)
    if looks.better is not None:
        axes.set_ylabel("higher is better" if looks.better else "lower is better")


def _colors(count: int) -> Iterator[Any]:
    """The cycle's own colours for few, as many as needed else."""
    if count <= 10:
        yield from [None] * count
        return
    import matplotlib

    yield from matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, count))


def _legend(axes: Any, own: bool) -> None:
    """Beside the data in a figure of ours; where there is room in axes that came."""
    columns = math.ceil(len(axes.get_legend_handles_labels()[1]) / COLUMN)
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if own else {"loc": "best"}
    axes.legend(fontsize=8, ncols=columns, **place)


def _titled(axes: Any, title: str) -> Drawn:
    """With a title: of the axes, or of the figure around several."""
    title = textwrap.fill(title, 60)
    if not isinstance(axes, np.ndarray):
        axes.set_title(title)
        figure = axes.figure
    else:
        figure = axes.flat[0].figure
        if title and all(one in axes for one in figure.axes):
            figure.suptitle(title)
    return getattr(figure, "figure", figure), axes
