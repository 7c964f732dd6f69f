"""Modules that leave the library: TorchScript, ONNX, TensorRT."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import epochal.training as pl
from epochal.classification import MulticlassF1Score
from tests.training.toys import CLASSES, Model


class Net(Model):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters()
        self.drop = nn.Dropout()
        self.f1 = MulticlassF1Score(CLASSES)
        self.inner = pl.LightningModule()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.layer(x))


X = torch.ones(2, 4)


@pytest.mark.filterwarnings("ignore")  # torch calls TorchScript old
def test_a_traced_module_predicts_alike(tmp_path):
    module = Net()
    made = module.to_torchscript(tmp_path / "a.pt", method="trace", example_inputs=X)
    assert module.training
    assert torch.equal(made(X), module.eval()(X))
    assert torch.equal(torch.jit.load(tmp_path / "a.pt")(X), module(X))
    module.example_input_array = X
    assert torch.equal(module.to_torchscript(method="trace")(X), module(X))
    with pytest.raises(RuntimeError, match="in no run"):
        _ = module.trainer


@pytest.mark.filterwarnings("ignore")
def test_a_scripted_module_predicts_alike():
    class Plain(Model):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    module = Plain()
    assert torch.equal(module.to_torchscript()(X), module(X))


def test_onnx_is_torchs_work_on_a_module_in_evaluation(monkeypatch, tmp_path):
    def exported(module, args, f, **kwargs):
        return module.training, torch.is_grad_enabled(), args, f, kwargs

    monkeypatch.setattr(torch.onnx, "export", exported)
    module, path = Net(), tmp_path / "a.onnx"
    assert module.to_onnx(path, X, opset_version=18) == (False, False, (X,), path, {"opset_version": 18})
    module.example_input_array = (X,)
    assert module.to_onnx()[2:] == ((X,), None, {})
    assert module.training


def test_exports_say_what_is_missing():
    with pytest.raises(ValueError, match=r"Net.to_onnx: neither input_sample nor example_input_array came"):
        Net().to_onnx("a.onnx")
    with pytest.raises(ValueError, match=r"to_torchscript: method is 'scrip', .* Did you mean 'script'"):
        Net().to_torchscript(method="scrip")
    with pytest.raises(ImportError, match=r"Net.to_tensorrt: torch_tensorrt is not installed"):
        Net().to_tensorrt("a.ep", X)
