"""One statistic for all classification metrics of labels: how often each pair of target and prediction occurs.

The table of a task (:mod:`epochal.classification.tasks`) is counted here and nowhere else. Metrics read it: as tp, fp, tn and
fn (:mod:`~epochal.classification.counts`) or as a confusion matrix (:mod:`~epochal.classification.confusion`). Metrics with
the same task share it, so a collection of all of them counts once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from epochal import check
from epochal.classification.arguments import Argument, OfTask
from epochal.classification.inferred import UNDECIDED, Inferred
from epochal.classification.tasks import Cells, Task
from epochal.metric import OPTIONS, Metric, MetricOptions, State
from epochal.numeric import histogram, within

GLOBAL, SAMPLEWISE = "global", "samplewise"


def tally(cells: Cells, task: Task, multidim_average: str) -> Tensor:
    """The tables of each label and sample, int64: (labels, cells), (samples, cells) or (samples, labels, cells)."""
    index, weight = within(cells[0], task.cells), cells[1]
    shape: tuple[int, ...] = (task.cells,)
    if task.groups:
        index = index + torch.arange(task.groups, device=index.device).unsqueeze(1) * task.cells
        shape = (task.groups, task.cells)
    size = shape[0] * shape[-1] if task.groups else task.cells
    if multidim_average == SAMPLEWISE:
        samples = index.shape[0]
        index = index + torch.arange(samples, device=index.device).view(-1, *(1,) * (index.ndim - 1)) * size
        shape, size = (samples, *shape), samples * size
    return histogram(index, size, weight).view(shape)


class TableMetric(OfTask, Metric):
    """A metric that reads the table of its task.

    ``multidim_average``: "global" counts over all dimensions, "samplewise" for each sample, so that results have a row for each.
    ``validate_args=False`` skips the check of values (labels in range, NaN): the spare cells are then left out in silence.
    """

    is_differentiable = False
    task_name: ClassVar[str | None] = None

    def __init__(
        self, task: Task, multidim_average: str = GLOBAL, validate_args: bool = True, **kwargs: Unpack[MetricOptions]
    ) -> None:
        super().__init__(**kwargs)
        task.check_arguments(self)
        check.choice(self, "multidim_average", multidim_average, (GLOBAL, SAMPLEWISE))
        plain = not task.groups and multidim_average == GLOBAL and validate_args  # one table for all, which refuses what is bad
        self.__dict__.update(task=task, multidim_average=multidim_average, validate_args=validate_args, plain=plain)
        self.__dict__["refuses"] = plain and task.strict
        if multidim_average == SAMPLEWISE:
            self.add_state("table", [], dist_reduce_fx="cat")
        else:
            shape = (task.groups, task.cells) if task.groups else (task.cells,)
            self.add_state("table", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        if isinstance(task, Inferred):
            self.add_state("decision", torch.tensor(UNDECIDED), dist_reduce_fx=task.agree)

    threshold, top_k = Argument(), Argument()
    task: Task
    multidim_average: str
    validate_args: bool
    plain: bool

    def measured_by(self) -> Hashable:
        return self.task, self.multidim_average, self.validate_args

    def measure(self, preds: Tensor, target: Tensor) -> State:
        """Count the pairs. ``preds``, ``target``: as the task says."""
        if self.plain:
            table = self.task.table(self, preds, target)
        else:
            table = tally(self.task.encode(self, preds, target), self.task, self.multidim_average)
        if isinstance(self.task, Inferred):
            return {"table": table, "decision": self.task.decision(self, preds, target)}
        return {"table": table}

    def verify(self, state: State) -> None:
        if not self.validate_args:
            return
        field = state["table"]
        for table in field if isinstance(field, list) else (field,):
            spare = self.task.faults(table)
            if spare.any() if spare.ndim else spare:
                came = f"{int(spare.sum())} values are labels out of range or NaN"
                check.fail(self, came, f"{self.task.valid} and numbers are needed")
        if isinstance(self.task, Inferred):
            self.task.verify_decision(state["decision"])

    def rows(self, table: Tensor) -> Tensor:
        """The table, also of no sample yet, which has no shape."""
        if self.multidim_average == SAMPLEWISE and not table.numel():
            return torch.zeros(
                (0, self.task.groups, self.task.cells) if self.task.groups else (0, self.task.cells), device=table.device
            )
        return table

    def diagnose(self, preds: Tensor, target: Tensor) -> None:
        self.task.diagnose(self, preds, target)

    def extra_repr(self) -> str:
        return repr(self.task)


class Family(type):
    """Of the classes that stand for one metric in every task: ``Precision(task="binary")`` builds a ``BinaryPrecision``.

    The family's ``__new__`` has the signature that users type and chooses (:func:`choose`); what it returns is complete, so that
    ``__init__``, which takes the arguments of its task, must not run again.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.task_name is None:  # type: ignore[attr-defined]
            return cls.__new__(cls, *args, **kwargs)  # type: ignore[arg-type]
        try:
            return super().__call__(*args, **kwargs)
        except TypeError:  # of a base class, to which an unknown name may mean something else
            known = {*inspect.signature(cls).parameters, *OPTIONS} - {"kwargs"}
            check.unknown_arguments(cls.__name__, {name: value for name, value in kwargs.items() if name not in known}, known)
            raise

    @property
    def __signature__(cls) -> inspect.Signature:
        function = cls.__new__ if cls.task_name is None else cls.__init__  # type: ignore[attr-defined, misc]
        signature = inspect.signature(function)
        return signature.replace(parameters=list(signature.parameters.values())[1:], return_annotation=signature.empty)


def choose(
    family: type[Any],
    task: str | None,
    arguments: dict[str, Any],
    without_task: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None,
) -> Any:
    """The metric of a family for a task. ``arguments``: all that the family takes; ``without_task`` makes of them those of its form
    in which the first batch decides the task."""
    if family.task_name is not None:  # unpickling a member: its state follows
        return nn.Module.__new__(family)
    name = family.__name__
    if task is None and without_task is not None:
        instance: Any = nn.Module.__new__(family)
        instance.__init__(**without_task(name, arguments))
        return instance
    members = {member.task_name: member for member in family.__subclasses__() if member.task_name}
    if task not in members:
        check.fail(
            name, f"task is {task!r}", f"one of {list(members)} is needed", check.closest(str(task), [str(m) for m in members])
        )
    known = inspect.signature(members[task]).parameters
    options = arguments.pop("kwargs")
    for size in ("num_classes", "num_labels"):
        if size in known and known[size].default is inspect.Parameter.empty and arguments.get(size) is None:
            check.fail(name, f"{size} is None", f"task={task!r} needs it", f"Pass {size}=, as in {name}(task={task!r}, {size}=3).")
    return members[task](**{key: value for key, value in arguments.items() if key in known}, **options)
