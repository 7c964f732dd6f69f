"""A trained module in a form that runs without this library: ONNX, TorchScript, TensorRT."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from epochal import check

NO_TRAINER = object()  # torch.jit asks for every attribute: the views of a run are then just missing, no error


class Exports(nn.Module):
    """What ``forward`` does is what is exported, in evaluation mode and without gradients."""

    if TYPE_CHECKING:
        example_input_array: Any

    def to_onnx(self, file_path: Any = None, input_sample: Any = None, **kwargs: Any) -> Any:
        """``torch.onnx.export``: a file, and what torch returns. ``input_sample``: ``example_input_array`` by default."""
        with self._for_export():
            return torch.onnx.export(self, self._sample("to_onnx", "input_sample", input_sample), file_path, **kwargs)

    def to_torchscript(self, file_path: Any = None, method: str = "script", example_inputs: Any = None, **kwargs: Any) -> Any:
        """``torch.jit.script``, or ``method="trace"`` for ``torch.jit.trace``, which follows ``example_inputs``."""
        check.choice(f"{type(self).__name__}.to_torchscript", "method", method, ("script", "trace"))
        with self._for_export():
            if method == "script":
                made: Any = torch.jit.script(self, **kwargs)
            else:
                sample = self._sample("to_torchscript", "example_inputs", example_inputs)
                made = torch.jit.trace(self, sample, **kwargs)  # type: ignore[no-untyped-call]  # so it is in torch
        if file_path is not None:
            torch.jit.save(made, file_path)
        return made

    def to_tensorrt(
        self,
        file_path: Any = None,
        input_sample: Any = None,
        ir: str = "default",
        output_format: str = "exported_program",
        retrace: bool = False,
        default_device: Any = "cuda",
        **compile_kwargs: Any,
    ) -> Any:
        """``torch_tensorrt.compile``, and a file if there is a path; needs the package torch_tensorrt and a GPU."""
        who = f"{type(self).__name__}.to_tensorrt"
        if importlib.util.find_spec("torch_tensorrt") is None:
            raise ImportError(check.message(who, "torch_tensorrt is not installed", "it is needed", "pip install torch_tensorrt"))
        import torch_tensorrt
        from lightning_fabric.utilities import move_data_to_device

        samples = move_data_to_device(self._sample("to_tensorrt", "input_sample", input_sample), torch.device(default_device))
        with self._for_export():
            made = torch_tensorrt.compile(self.to(default_device), ir=ir, inputs=list(samples), **compile_kwargs)
            if file_path is not None:
                torch_tensorrt.save(made, file_path, inputs=list(samples), output_format=output_format, retrace=retrace)
        return made

    def _sample(self, verb: str, argument: str, given: Any) -> tuple[Any, ...]:
        """The arguments of ``forward`` that an export follows."""
        sample = self.example_input_array if given is None else given
        if sample is None:
            came, fix = f"neither {argument} nor example_input_array came", f"Pass {argument}, a batch as forward takes it."
            check.fail(f"{type(self).__name__}.{verb}", came, "an export follows an example", fix)
        return tuple(sample) if isinstance(sample, tuple | list) else (sample,)

    @contextmanager
    def _for_export(self) -> Iterator[None]:
        modes = [(module, module.training) for module in self.modules()]
        alone = [module for module, _ in modes if module.__dict__.get("_trainer", module) is None]
        for module in alone:
            module.__dict__["_trainer"] = NO_TRAINER
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, training in modes:
                module.training = training
            for module in alone:
                module.__dict__["_trainer"] = None
