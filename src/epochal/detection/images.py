"""What detection metrics are given: a dictionary for each image, checked and joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from epochal import check

Array = npt.NDArray[Any]
Image = Mapping[str, Any]
FORMS: dict[str, tuple[int, ...]] = {"boxes": (4,)}  # of a row; of all else a number


@dataclass(frozen=True)
class Images:
    """One argument of ``update``: a dictionary for each image, with so many rows in each entry of an image."""

    metric: Any
    name: str
    images: Sequence[Image]
    lengths: Sequence[int]

    @classmethod
    def checked(cls, metric: Any, name: str, images: Sequence[Image], needed: Sequence[str]) -> Images:
        """Raise unless each image has all that is needed, as many of each as labels."""
        if not isinstance(images, list | tuple):
            came = f"{name} is a {type(images).__name__}"
            fix = f"Pass [{name}] for a single image." if isinstance(images, dict) else ""
            raise TypeError(check.message(metric, came, "a list with a dictionary for each image is needed", fix))
        return cls(metric, name, images, [_rows(metric, f"{name}[{i}]", image, needed) for i, image in enumerate(images)])

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image(self) -> Array:
        """The image of each row."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def entry(self, key: str, fill: float | None = None) -> Tensor:
        """The rows of all images; ``fill`` where an image has none of that name."""
        form, parts = FORMS.get(key, ()), list[Tensor]()
        for i, (image, length) in enumerate(zip(self.images, self.lengths, strict=True)):
            if not length:
                continue  # an empty one may have any form
            value: Any = image.get(key)
            if value is None and fill is not None:
                value = torch.full((length,), fill, device=image["labels"].device)
            check.tensors(self.metric, **{f"{self.name}[{i}][{key!r}]": value})
            if value.shape != (length, *form):
                came = f"{self.name}[{i}][{key!r}] has shape {check.shape(value)}"
                check.fail(self.metric, came, f"{(length, *form)} is needed, a row for each label")
            parts.append(value)
        rows = torch.cat(parts) if parts else torch.zeros((0, *form), device=self.metric.device)
        check.real(self.metric, **{f"{key} of {self.name}": rows})
        return rows

    def host(self, key: str, fill: float | None = None) -> Tensor:
        """The same, read on the host."""
        rows = self.entry(key, fill).detach().cpu()
        if rows.is_floating_point() and rows.isnan().any():
            check.fail(self.metric, f"{key} of {self.name} have {int(rows.isnan().sum())} NaN", "numbers are needed")
        return rows

    def labels(self) -> Tensor:
        labels = self.entry("labels")
        if labels.shape[0]:
            check.integers(self.metric, **{f"labels of {self.name}": labels})
        return labels.long()


def pair(metric: Any, preds: Any, target: Any, of_preds: Sequence[str], of_target: Sequence[str]) -> tuple[Images, Images]:
    """Both arguments, with an entry for each image."""
    ours, its = Images.checked(metric, "preds", preds, of_preds), Images.checked(metric, "target", target, of_target)
    if len(ours) != len(its):
        check.fail(metric, f"preds has {len(ours)} images", f"target has {len(its)}", "Pass an entry for each image in both.")
    return ours, its


def _rows(metric: Any, name: str, image: Image, needed: Sequence[str]) -> int:
    """How many rows an image has."""
    if not isinstance(image, dict):
        needs = f"a dictionary with {' and '.join(map(repr, needed))} is needed"
        raise TypeError(check.message(metric, f"{name} is a {type(image).__name__}", needs))
    for key in needed:
        if key not in image:
            check.fail(metric, f"{name} has the entries {sorted(image)}", f"{key!r} is needed, too")
    labels = image["labels"]
    check.tensors(metric, **{f"{name}['labels']": labels})
    if labels.ndim != 1:
        check.fail(metric, f"{name}['labels'] has shape {check.shape(labels)}", "(N,) is needed")
    lengths = {key: len(image[key]) if getattr(image[key], "shape", True) else 0 for key in needed}
    for key, length in lengths.items():
        if length != lengths["labels"]:
            check.fail(metric, f"{name} has {length} {key}", f"{lengths['labels']} labels", "Pass as many of both.")
    return lengths["labels"]
