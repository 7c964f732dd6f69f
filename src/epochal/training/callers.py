"""Who called: for the words of an error, where no hook is known."""

from __future__ import annotations

import inspect
from types import FrameType


def method_of(owner: object) -> str:
    """The outermost method of ``owner`` that runs now, or nothing."""
    frame: FrameType | None = inspect.currentframe()
    found = ""
    while frame is not None:
        if frame.f_locals.get("self") is owner:
            found = frame.f_code.co_name
        frame = frame.f_back
    return found
