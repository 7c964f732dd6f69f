"""Run the benchmarks of this folder and print their ratios: ``python -m benchmarks [names]``; exit code 1 if one is missed."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings

import torch

import benchmarks
from benchmarks.timing import HEAD

HELPERS = ("__main__", "timing")


def modules(names: list[str]) -> list[str]:
    found = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in HELPERS]
    unknown = set(names) - set(found)
    if unknown:
        raise SystemExit(f"benchmarks: there is no {', '.join(sorted(unknown))}, but one of {', '.join(found)} is needed.")
    return names or found


def main(names: list[str]) -> int:
    torch.set_num_threads(1)
    missed = []
    print(HEAD)
    for name in modules(names):
        module = importlib.import_module(f"benchmarks.{name}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for row in module.rows():
                print(row, flush=True)
                missed += [] if row.met else [f"{name}: {row.name}"]
    print("All reached." if not missed else "\n".join(["Missed:", *missed]))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
