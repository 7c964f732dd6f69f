"""A result with a row for each class, as a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from epochal import check
from epochal.metric import Metric
from epochal.wrappers.base import Inner, Wrapper, affix, metric_needed

__all__ = ["ClasswiseWrapper"]


class ClasswiseWrapper(Wrapper, composite=True):
    """The value of each class under a name of its own: what can be logged of a metric with ``average=None``.

    ``update``: what the metric takes. ``compute()``: a dictionary with an entry for each row of the metric's value, named
    ``prefix + label + postfix``, or, without both, after the metric's class: ``multiclassaccuracy_label``.

    Args:
        metric: a metric whose value has a row for each class.
        labels: the names of the classes; by default 0, 1, ...
        prefix, postfix: put before and behind each label.

    Raises:
        ValueError: the value has no rows, or another number of them than there are labels.

    >>> from epochal.classification import MulticlassRecall
    >>> recall = ClasswiseWrapper(MulticlassRecall(3, average=None), labels=["cat", "dog", "owl"], prefix="recall_")
    >>> recall(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 2]))
    {'recall_cat': tensor(0.5000), 'recall_dog': tensor(1.), 'recall_owl': tensor(1.)}
    """

    metric: Metric

    def __init__(
        self, metric: Metric, labels: Sequence[str] | None = None, prefix: str | None = None, postfix: str | None = None
    ) -> None:
        super().__init__()
        metric_needed(self, "metric", metric, collection=False)
        if labels is not None and (isinstance(labels, str) or not all(isinstance(label, str) for label in labels)):
            raise TypeError(check.message(self, f"labels is {labels!r}", "a list of strings is needed"))
        if labels is not None and len(set(labels)) < len(labels):
            check.fail(self, f"labels is {list(labels)}", "each class needs a name of its own")
        self.labels = labels
        before, self.postfix = affix(self, "prefix", prefix), affix(self, "postfix", postfix)
        self.prefix = before if before or self.postfix else f"{type(metric).__name__.lower()}_"
        self.hold(metric=metric)

    @property
    def inner(self) -> Sequence[Inner]:
        return [self.metric]

    def result(self, values: Sequence[Any], **_: Any) -> dict[str, Any]:
        return self.by_class(values[0])

    def by_class(self, value: Any) -> dict[str, Any]:
        """An entry for each row; of a dictionary, as another wrapper returns it, for each row of each of its values."""
        if isinstance(value, Mapping):
            return {key: self.by_class(item) for key, item in value.items()}
        if not isinstance(value, Tensor) or not value.ndim:
            kind = "a single number" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            came = f"the value of {type(self.metric).__name__} is {kind}"
            check.fail(self, came, "a row for each class is needed", "Pass average=None to the metric.")
        labels = range(len(value)) if self.labels is None else self.labels
        if len(labels) != len(value):
            check.fail(self, f"labels has {len(labels)} names", f"the value has {len(value)} rows", "Pass a name for each class.")
        return {f"{self.prefix}{label}{self.postfix}": row.clone() for label, row in zip(labels, value, strict=True)}
