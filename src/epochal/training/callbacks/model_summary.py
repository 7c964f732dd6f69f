"""ModelSummary: the layers of a model, their parameters and sizes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from epochal import check
from epochal.training.callbacks.callback import Callback

Column = tuple[str, list[str]]


class ModelSummary(Callback):
    """Prints the layers of the module when a fit begins: their parameters, and whether they train.

    ``max_depth``: 1 shows the module's own layers, 2 also those inside of them, -1 all, 0 the totals alone. With an
    ``example_input_array`` in the module, also the sizes of what goes in and out and the floating point operations of one forward.
    Override :meth:`summarize` to show it elsewhere; it gets ``summarize_kwargs``, too.
    """

    def __init__(self, max_depth: int = 1, **summarize_kwargs: Any) -> None:
        check.whole(self, "max_depth", max_depth, -1)
        self._max_depth, self._summarize_kwargs = max_depth, summarize_kwargs

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """On the first rank."""
        if trainer.is_global_zero and self._max_depth >= -1:
            forward = Forward(trainer, pl_module) if getattr(pl_module, "example_input_array", None) is not None else None
            self.summarize(*contents(pl_module, self._max_depth, forward), **self._summarize_kwargs)

    @staticmethod
    def summarize(
        summary_data: list[Column],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: Mapping[str, int],
        total_flops: int,
        **summarize_kwargs: Any,  # noqa: ARG004  # for those that override it
    ) -> None:
        """Print it to stderr: ``summary_data`` holds columns, a head and the cells of each; ``model_size`` is in megabytes."""
        trainable, fixed = short(trainable_parameters), short(total_parameters - trainable_parameters)
        lines = [
            f"{short(total_parameters)} parameters ({model_size:.3f} MB): {trainable} train, {fixed} are fixed",
            f"{total_training_modes['train']} modules in train mode, {total_training_modes['eval']} in eval mode",
        ]
        lines += [f"{short(total_flops)} floating point operations in a forward"] * bool(total_flops)
        layers = _drawn(summary_data)
        rule = "-" * max(map(len, [*layers, *lines]))
        text = "\n".join([*layers[:1], rule, *layers[1:], *[rule] * bool(layers), *lines])
        print(text, file=sys.stderr)  # noqa: T201  # where Lightning's goes, too: a script's output is its own


class Forward:
    """What one forward of the ``example_input_array`` shows: sizes and operations, by the names of modules."""

    def __init__(self, trainer: Any, module: Any) -> None:
        from torch.utils.flop_counter import FlopCounterMode  # slow to import

        self.sizes: dict[str, tuple[str, str]] = {}
        self.flops: dict[str, int] = {}
        modes = [(part, part.training) for part in module.modules()]
        handles = [part.register_forward_hook(self._noting(name)) for name, part in module.named_modules() if name]
        try:
            module.eval()  # nothing of it shall stay: running means, random numbers
            with torch.no_grad(), torch.random.fork_rng(), FlopCounterMode(display=False) as counter:
                self._call(trainer.precise(module), module)
            root = type(module).__name__
            counts = {name: sum(found.values()) for name, found in counter.get_flop_counts().items()}
            self.flops = {name.removeprefix(f"{root}.") if name != root else "": count for name, count in counts.items()}
        except Exception as error:  # a summary is not worth the run
            came = f"forward does not take it: {type(error).__name__}: {error}"
            warnings.warn(check.message("example_input_array", came, "the summary shows its sizes", "Leave it out."), stacklevel=4)
        finally:
            for handle in handles:
                handle.remove()
            for part, training in modes:
                part.training = training

    def _call(self, forward: Any, module: Any) -> None:
        example = module.transfer_batch_to_device(module.example_input_array, module.device, 0)
        if isinstance(example, Mapping):
            forward(**example)
        else:
            forward(*example) if isinstance(example, tuple) else forward(example)

    def _noting(self, name: str) -> Any:
        def note(_: nn.Module, inputs: Any, output: Any) -> None:
            self.sizes.setdefault(name, (sizes_of(inputs), sizes_of(output)))

        return note


def contents(
    module: nn.Module, max_depth: int, forward: Forward | None = None
) -> tuple[list[Column], int, int, float, dict[str, int], int]:
    """The arguments of :meth:`ModelSummary.summarize`. A parameter that is shared counts once in the totals."""
    parameters = [p for p in module.parameters() if not is_lazy(p)]
    inner = [(name, part) for name, part in module.named_modules() if name]
    named = [(name, part) for name, part in inner if max_depth == -1 or name.count(".") < max_depth]
    columns: list[Column] = []
    if named:
        columns = [
            (" ", [str(index) for index in range(len(named))]),
            ("Name", [name for name, _ in named]),
            ("Type", [type(part).__name__ for _, part in named]),
            ("Params", [_parameters(part) for _, part in named]),
            ("Mode", ["train" if part.training else "eval" for _, part in named]),
        ]
    if named and forward is not None:
        columns += [
            ("FLOPs", [short(forward.flops.get(name, 0)) for name, _ in named]),
            ("In sizes", [forward.sizes.get(name, ("?", "?"))[0] for name, _ in named]),
            ("Out sizes", [forward.sizes.get(name, ("?", "?"))[1] for name, _ in named]),
        ]
    training = sum(part.training for _, part in inner)
    return (
        columns,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(p.numel() * p.element_size() for p in parameters) / 1e6,
        {"train": training, "eval": len(inner) - training},
        forward.flops.get("", 0) if forward is not None else 0,
    )


def _parameters(part: nn.Module) -> str:
    found = list(part.parameters())
    return "?" if any(map(is_lazy, found)) else short(sum(p.numel() for p in found))


def short(number: int) -> str:
    """A count in three digits: 950, 1.2 K, 34.5 M."""
    size, units = float(number), ["", " K", " M", " B", " T"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.1f}{units[0]}" if units[0] else str(number)


def sizes_of(value: Any) -> str:
    """The shapes in what a layer takes or returns."""
    if isinstance(value, Tensor):
        return str(list(value.shape))
    parts = list(value.values() if isinstance(value, Mapping) else value) if isinstance(value, Mapping | list | tuple) else []
    shapes = [sizes_of(part) for part in parts]
    return shapes[0] if len(shapes) == 1 else f"[{', '.join(shapes)}]" if shapes else "?"


def _drawn(columns: Iterable[Column]) -> list[str]:
    """The lines of a table, its head first."""
    padded = [[cell.ljust(max(map(len, [head, *cells]))) for cell in [head, *cells]] for head, cells in columns]
    return [" | ".join(line).rstrip() for line in zip(*padded, strict=True)]
