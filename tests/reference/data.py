"""Data of the three tasks in all the forms in which they come, each with the arguments that belong to it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

SIZE = 60
CUTS = (7, 7, 8, 31)  # batches of 7, 0, 1, 23 and 29 samples
NOT_ANY = -1


@dataclass(frozen=True)
class Data:
    """Predictions and targets. ``thorough``: a division by zero is near, so that all of its treatments are compared;
    ``brief``: what is special is over once the labels are known, so that one average is enough."""

    name: str
    task: str
    preds: Tensor
    target: Tensor
    arguments: Mapping[str, Any] = field(default_factory=dict)
    thorough: bool = False
    brief: bool = False

    @property
    def size(self) -> int:
        return self.arguments.get("num_classes") or self.arguments.get("num_labels") or 2

    @property
    def raw(self) -> tuple[np.ndarray, np.ndarray]:
        """For an oracle: float64 or int64."""
        preds, target = self.preds, self.target.long().numpy()
        return (preds.double() if preds.is_floating_point() else preds.long()).numpy(), target

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        bounds = [0, *CUTS, len(self.target)]
        for start, end in itertools.pairwise(bounds):
            yield self.preds[start:end], self.target[start:end]

    def __str__(self) -> str:
        return f"{self.task}-{self.name}"


def source(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(sum(name.encode()))


# --- yes or no ---------------------------------------------------------------------------------------------------------------


def yes(shape: Sequence[int], g: torch.Generator, share: float = 0.5) -> Tensor:
    return (torch.rand(shape, generator=g) < share).long()


def guess(target: Tensor, g: torch.Generator) -> Tensor:
    """Logits that know something of the target."""
    return 2 * torch.randn(target.shape, generator=g) + 2 * target - 1


def apart(scores: Tensor, threshold: float) -> Tensor:
    """None within a rounding error of a threshold in its own precision, where float64 would decide otherwise."""
    logit = math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else 0.0
    near = ((scores - threshold).abs() < 0.01) | ((scores - logit).abs() < 0.01)
    return scores.masked_fill(near & (0 < threshold < 1), 0.9)


def yes_or_no(task: str, columns: Sequence[int], size: Mapping[str, Any]) -> Iterator[Data]:
    """Of a binary or multilabel task: ``columns`` are the dimensions behind the samples."""

    def data(name: str, share: float = 0.5, change: Callable[[Tensor, Tensor], Any] = lambda p, t: (p, t), **more: Any) -> Data:
        g = source(task + name)
        target = yes((SIZE, *more.pop("columns", columns)), g, share)
        preds, target = change(guess(target, g), target)
        thorough, brief = more.pop("thorough", False), more.pop("brief", False)
        threshold = more.get("threshold", 0.5)
        if preds.is_floating_point():
            preds = apart(preds.float(), threshold).to(preds.dtype)
        return Data(name, task, preds, target, {**size, **more}, thorough, brief)

    yield data("probabilities", change=lambda p, t: (p.sigmoid(), t))
    yield data("logits")
    yield data("labels", change=lambda p, t: ((p > 0).long(), t))
    yield data("imbalanced", share=0.04, change=lambda p, t: (p.sigmoid(), t), thorough=True)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        yield data(f"{dtype} probabilities", change=lambda p, t: (p.sigmoid().to(dtype), t), threshold=0.3, brief=True)
        yield data(f"{dtype} logits", change=lambda p, t: (p.to(dtype), t), threshold=0.3, brief=True)
    for dtype in (torch.uint8, torch.int32, torch.bool):
        yield data(f"{dtype} target", change=lambda p, t: (p.sigmoid(), t.to(dtype)), brief=True)
    yield data("bool preds", change=lambda p, t: (p > 0, t), brief=True)
    yield data("uint8 preds", change=lambda p, t: ((p > 0).byte(), t.byte()), brief=True)
    for threshold in (0, 0.3, 1):
        yield data(f"probabilities above {threshold}", change=lambda p, t: (p.sigmoid(), t), threshold=threshold, brief=True)
        yield data(f"logits above {threshold}", threshold=threshold, brief=True)
    yield data("0 and 1 as floats", change=lambda p, t: ((p > 0).float(), t), threshold=0)
    yield data("logits within 0 and 1", change=lambda p, t: (p.sigmoid(), t), logits=True, brief=True)
    yield data("probabilities beyond 1", change=lambda p, t: (p.abs(), t), logits=False, brief=True)
    yield data("no positive target", change=lambda p, t: (p, t * 0), thorough=True)
    yield data("no positive preds", change=lambda p, t: (-p.abs(), t), thorough=True)
    yield data("nothing positive", change=lambda p, t: (-p.abs(), t * 0), thorough=True)
    yield data("all positive", change=lambda p, t: (p.abs(), t * 0 + 1), thorough=True)
    yield data("positions", columns=(*columns, 3, 2))
    yield data("ignored outside", change=lambda p, t: ignored(p, t, NOT_ANY), ignore_index=NOT_ANY, thorough=True)
    yield data("ignored NaN", change=lambda p, t: ignored(p, t, 7, math.nan), ignore_index=7, brief=True)
    for inside in (0, 1):
        yield data(f"ignored {inside}", change=lambda p, t: (p.sigmoid(), t), ignore_index=inside, thorough=True)
    yield data("ignored and beyond 1", change=lambda p, t: ignored(p.sigmoid(), t, NOT_ANY, 5.0), ignore_index=NOT_ANY)
    yield data("ignored in positions", columns=(*columns, 4), change=lambda p, t: ignored(p, t, NOT_ANY), ignore_index=NOT_ANY)


def ignored(preds: Tensor, target: Tensor, index: int, score: float | None = None) -> tuple[Tensor, Tensor]:
    """A quarter of the targets is to be ignored; their predictions are ``score``."""
    drop = torch.rand(target.shape, generator=source("ignored")) < 0.25
    if score is not None:
        preds = preds.masked_fill(drop.unsqueeze(1) if preds.ndim > target.ndim else drop, score)
    return preds, target.masked_fill(drop, index)


# --- one of several ----------------------------------------------------------------------------------------------------------


def distinct(rows: int, classes: int, g: torch.Generator) -> Tensor:
    """Scores in (0, 1) without ties, also in half precision."""
    return (torch.rand(rows, classes, generator=g).argsort(1).float() + 0.5) / classes


def classes(
    name: str,
    count: int,
    positions: Sequence[int] = (),
    drawn_from: Sequence[int] | None = None,
    predicted: Sequence[int] | None = None,
    change: Callable[[Tensor, Tensor], Any] = lambda p, t: (p, t),
    thorough: bool = False,
    brief: bool = False,
    **arguments: Any,
) -> Data:
    """Of a multiclass task: targets ``drawn_from`` some classes, the highest scores of classes in ``predicted``."""
    g = source(f"{name}{count}")
    rows = SIZE * math.prod(positions)
    drawn = torch.tensor(list(drawn_from or range(count)))
    target = drawn[torch.randint(len(drawn), (rows,), generator=g)]
    preds = distinct(rows, count, g)
    known = torch.rand(rows, generator=g) < 0.4
    preds[known, target[known]] += 1
    if predicted is not None:
        preds[:, list(predicted)] += 2
    preds = preds.view(SIZE, *positions, count).movedim(-1, 1)
    preds, target = change(preds, target.view(SIZE, *positions))
    return Data(f"{name} of {count}", "multiclass", preds, target, {"num_classes": count, **arguments}, thorough, brief)


def multiclass() -> Iterator[Data]:
    for count in (3, 10, 70):
        yield classes("scores", count, thorough=count == 70)
        yield classes("logits", count, change=lambda p, t: (4 * p - 3, t), brief=True)
        yield classes("labels", count, change=lambda p, t: (p.argmax(1), t), brief=count != 10)
        yield classes("positions", count, (3, 2), brief=count != 10)
        yield classes("ignored outside", count, change=lambda p, t: ignored(p, t, NOT_ANY), ignore_index=NOT_ANY, brief=count != 10)
        yield classes("ignored inside", count, change=lambda p, t: ignored(p, t, 1), ignore_index=1, thorough=count != 3)
        yield classes(
            "ignored 255", count, (4,), change=lambda p, t: ignored(p, t.byte(), 255, math.nan), ignore_index=255, brief=True
        )
        yield classes("ignored labels", count, change=lambda p, t: ignored(p.argmax(1), t, 0), ignore_index=0, brief=True)
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            yield classes(f"{dtype}", count, change=lambda p, t: (p.to(dtype), t), brief=True)
        for k in {3: (2, 3), 10: (2, 5, 9, 10), 70: (2, 64, 70)}[count]:
            yield classes(f"top {k}", count, top_k=k, thorough=k == 2 and count == 10)
            yield classes(f"top {k} in positions", count, (3,), top_k=k, brief=True)
        yield classes("top 2, ignored", count, change=lambda p, t: ignored(p, t, 0), top_k=2, ignore_index=0)
    for dtype in (torch.uint8, torch.int32):
        yield classes(f"{dtype} target", 10, change=lambda p, t: (p, t.to(dtype)), brief=True)
        yield classes(f"{dtype} preds", 70, change=lambda p, t: (p.argmax(1).to(dtype), t.to(dtype)), brief=True)
    yield classes("bool labels", 3, drawn_from=[0, 1], predicted=[0, 1], change=lambda p, t: (p.argmax(1) > 0, t > 0), brief=True)
    for count in (10, 70):
        yield classes("imbalanced", count, drawn_from=[*[0] * 20, 1, 2, 3], thorough=True)
        yield classes("not in target", count, drawn_from=[0, 2, 5], thorough=True)
        yield classes("not in preds", count, predicted=[0, 1, 2], thorough=True)
        yield classes("in neither", count, drawn_from=[0, 2, 5], predicted=[0, 1, 2], thorough=True)
        yield classes("disjoint", count, drawn_from=[0, 1], predicted=[4, 5], thorough=True)
        yield classes("one class", count, drawn_from=[1], predicted=[1], thorough=True)
        yield classes("one class each", count, drawn_from=[1], predicted=[2], thorough=True)


BINARY = list(yes_or_no("binary", (), {}))
MULTILABEL = [
    *yes_or_no("multilabel", (5,), {"num_labels": 5}),
    *list(yes_or_no("multilabel", (2,), {"num_labels": 2}))[:2],
]
MULTICLASS = list(multiclass())
ALL = {"binary": BINARY, "multiclass": MULTICLASS, "multilabel": MULTILABEL}
