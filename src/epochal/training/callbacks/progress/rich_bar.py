# ruff: noqa: ARG002  # hooks have the signatures that users of Lightning override
"""RichProgressBar: bars by rich."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.style import Style
from rich.table import Column
from rich.text import Text

from epochal.training.callbacks.progress.base import formatted
from epochal.training.callbacks.progress.redrawn import PREDICT, SANITY, TEST, TRAIN, VALIDATE, Redrawn


@dataclass
class RichProgressBarTheme:
    """Styles of the parts of a :class:`RichProgressBar`, as rich names them: ``"green"``, ``"#6206E0"``, ``"dim italic"``.

    ``metrics_format``: how numbers are written, as in ``".3f"``; by default in five places, whatever their size.
    """

    description: str | Style = ""
    progress_bar: str | Style = "#6206E0"
    progress_bar_finished: str | Style = "#6206E0"
    progress_bar_pulse: str | Style = "#6206E0"
    batch_progress: str | Style = ""
    time: str | Style = "dim"
    processing_speed: str | Style = "dim underline"
    metrics: str | Style = "italic"
    metrics_text_delimiter: str = " "
    metrics_format: str = ""


class Styled(ProgressColumn):
    """A column of one style that keeps to its line, on a terminal of so many characters at least."""

    needs = 0

    def __init__(self, style: str | Style) -> None:
        super().__init__(Column(no_wrap=True))
        self.style = style

    def said(self, task: Task) -> str:
        raise NotImplementedError

    def render(self, task: Task) -> Text:
        return Text(self.said(task), style=self.style)


class Description(Styled):
    """``Epoch 3/9``, ``Validation DataLoader 1``."""

    def said(self, task: Task) -> str:
        return task.description


class Batches(Styled):
    """``3/10``."""

    def said(self, task: Task) -> str:
        return f"{int(task.completed)}/{'--' if task.total is None else int(task.total)}"


class Times(Styled):
    """``0:00:03 • 0:00:07``: since the line began, and until it ends."""

    needs = 50

    def said(self, task: Task) -> str:
        speed = _speed(task)
        left = None if task.total is None or not speed else (task.total - task.completed) / speed
        return f"{_clock(task.elapsed or 0)} • {_clock(left)}"


class Speed(Styled):
    """``12.5it/s``, or ``2.0s/it``."""

    needs = 65

    def said(self, task: Task) -> str:
        speed = _speed(task)
        return f"{speed:.1f}it/s" if speed >= 1 or not speed else f"{1 / speed:.1f}s/it"


def _speed(task: Task) -> float:
    return task.completed / task.elapsed if task.elapsed else 0.0


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class Lines(Progress):
    """The lines of all tasks, and below them the metrics, as many in a line as there is room for."""

    def __init__(self, columns: Iterable[Any], console: Console, theme: RichProgressBarTheme) -> None:
        fitting = [column for column in columns if console.width >= getattr(column, "needs", 0)]
        self.theme = theme
        self.metrics: dict[str, Any] = {}
        super().__init__(*fitting, console=console, auto_refresh=False)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.metrics:
            yield self.below()

    def below(self) -> Text:
        """The metrics; a name and its value stay in one line."""
        between, lines = self.theme.metrics_text_delimiter, [""]
        for key, value in formatted(self.metrics, self.theme.metrics_format).items():
            pair = f"{key}: {value}"
            if lines[-1] and cell_len(lines[-1] + between + pair) > self.console.width:
                lines.append(pair)
            else:
                lines[-1] += (between if lines[-1] else "") + pair
        return Text("\n".join(lines), style=self.theme.metrics)


class RichProgressBar(Redrawn):
    """A bar by rich, one below for validation; a line per epoch where the output is no terminal.

    It is drawn ``refresh_rate`` times a second, at most ten; 0 shows nothing. ``leave`` keeps the line of each epoch. ``theme``:
    its styles. ``console_kwargs`` are those of rich's ``Console``. Override :meth:`configure_columns` for other columns.
    """

    def __init__(
        self,
        refresh_rate: int = 100,
        leave: bool = False,
        theme: RichProgressBarTheme = RichProgressBarTheme(),  # noqa: B008  # nobody changes it
        console_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(leave)
        self.refresh_rate, self.theme, self.console_kwargs = refresh_rate, theme, console_kwargs
        self._on = refresh_rate > 0
        self.INTERVAL = max(self.INTERVAL, 1 / max(1, refresh_rate))
        self.progress: Lines | None = None  # while something is shown

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "progress": None}

    def configure_columns(self, trainer: Any) -> list[Any]:
        """The columns of a line."""
        theme = self.theme
        bar = BarColumn(None, "bar.back", theme.progress_bar, theme.progress_bar_finished, theme.progress_bar_pulse)
        batches, times, speed = Batches(theme.batch_progress), Times(theme.time), Speed(theme.processing_speed)
        return [Description(theme.description), bar, batches, times, speed]

    def refresh(self, hard: bool = False) -> None:
        """Draw, if it is time or ``hard``."""
        if self.progress is not None and (hard or self._is_due(0)):
            self.progress.refresh()

    @property
    def train_progress_bar(self) -> Task:
        return self._task(TRAIN)

    @property
    def val_sanity_check_bar(self) -> Task:
        return self._task(SANITY)

    @property
    def val_progress_bar(self) -> Task:
        return self._task(VALIDATE)

    @property
    def test_progress_bar(self) -> Task:
        return self._task(TEST)

    @property
    def predict_progress_bar(self) -> Task:
        return self._task(PREDICT)

    def _task(self, stage: str) -> Task:
        return self._of(self.line(stage))

    def _of(self, line: Any) -> Task:
        assert self.progress is not None
        return next(task for task in self.progress.tasks if task.id == line)

    # --- drawing ---------------------------------------------------------------------------------------------------------

    def _redraws(self) -> bool:
        console = Console(**(self.console_kwargs or {}))
        if console.is_jupyter:
            return importlib.util.find_spec("ipywidgets") is not None  # which draws there
        return console.is_terminal and not console.is_dumb_terminal

    def _open(self, stage: str) -> Any:
        if self.progress is None:
            console = Console(**(self.console_kwargs or {}))
            self.progress = Lines(self.configure_columns(self.trainer), console, self.theme)
            self.progress.start()
        return self.progress.add_task("", total=None)

    def _begin(self, line: Any, name: str, part: str, total: int | None) -> None:
        assert self.progress is not None
        self.progress.reset(line, description=" ".join(filter(None, [name, part])))
        self._of(line).total = total  # also None, which reset takes for no word
        self.progress.refresh()

    def _draw(self, line: Any, done: int, metrics: dict[str, Any] | None) -> None:
        assert self.progress is not None
        if metrics is not None:
            self.progress.metrics = metrics
        self.progress.update(line, completed=done)
        self.progress.refresh()

    def _close(self, line: Any, leave: bool) -> None:
        assert self.progress is not None
        if not leave:
            self.progress.remove_task(line)
        if not self._lines:
            self.progress.stop()
            self.progress = None
