"""Run the benchmarks of this folder and print their ratios: ``python -m benchmarks [names]``; exit code 1 if one is missed."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from typing import Any

import torch

import benchmarks


def modules(names: list[str]) -> list[str]:
    found = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in ("__main__", "timing")]
    unknown = set(names) - set(found)
    if unknown:
        raise SystemExit(f"benchmarks: there is no {', '.join(sorted(unknown))}, but one of {', '.join(found)} is needed.")
    return names or found


def line(row: Any) -> str:
    """A :class:`~benchmarks.timing.Row`, or one of costs, where ``limit`` is the most that ours may be."""
    if hasattr(row, "limit"):
        numbers = f"{row.ours:>10.3f}{row.theirs:>10.3f}{'':>8}{row.limit:>8.2f}"
    else:
        numbers = f"{row.ours * 1e6:>10.1f}{row.peer * 1e6:>10.1f}{row.ratio:>8.2f}{row.required:>8.2f}"
    return f"{row.name:<52}{numbers}  {'ok' if met(row) else 'MISSED'}"


def met(row: Any) -> bool:
    return row.ours <= row.limit if hasattr(row, "limit") else row.ratio >= row.required


def main(names: list[str]) -> int:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    missed = 0
    print(f"{'':<52}{'ours, us':>10}{'peer, us':>10}{'ratio':>8}{'at least':>8}")
    for name in modules(names):
        module = importlib.import_module(f"benchmarks.{name}")
        for row in module.rows() if hasattr(module, "rows") else []:
            print(line(row), flush=True)
            missed += not met(row)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
