"""Paths that torchmetrics and Lightning have, and Epochal has not: what is imported from there comes from the room above."""

import sys


def answer_to(room: str, names: str) -> None:
    """``from epochal.image.fid import X`` is ``from epochal.image import X``, as ``os.path`` is a name of another module."""
    for name in names.split():
        sys.modules[f"{room}.{name}"] = sys.modules[room]
