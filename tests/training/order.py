"""Records the hooks of a run, for ours and for Lightning's classes alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.training.toys import CLASSES, loader

OF_MODULE = """
    configure_callbacks prepare_data setup teardown configure_model configure_optimizers on_fit_start on_fit_end
    on_train_start on_train_end on_train_epoch_start on_train_epoch_end on_train_batch_start on_train_batch_end
    training_step on_before_zero_grad optimizer_zero_grad on_before_backward backward on_after_backward
    on_before_optimizer_step configure_gradient_clipping clip_gradients optimizer_step lr_scheduler_step
    on_validation_model_zero_grad on_validation_model_eval on_validation_start on_validation_epoch_start
    on_validation_batch_start validation_step on_validation_batch_end on_validation_epoch_end on_validation_end
    on_test_model_eval on_test_start on_test_epoch_start on_test_batch_start test_step on_test_batch_end
    on_test_epoch_end on_test_end on_predict_model_eval on_predict_start on_predict_epoch_start on_predict_batch_start
    predict_step on_predict_batch_end on_predict_epoch_end on_predict_end on_validation_model_train
    on_test_model_train
""".split()  # noqa: SIM905  # one per line would be a page
OF_CALLBACK = """
    setup teardown on_fit_start on_fit_end on_sanity_check_start on_sanity_check_end on_train_start on_train_end
    on_train_epoch_start on_train_epoch_end on_train_batch_start on_train_batch_end on_before_zero_grad
    on_before_backward on_after_backward on_before_optimizer_step on_validation_start on_validation_epoch_start
    on_validation_batch_start on_validation_batch_end on_validation_epoch_end on_validation_end on_test_start
    on_test_epoch_start on_test_batch_start on_test_batch_end on_test_epoch_end on_test_end on_predict_start
    on_predict_epoch_start on_predict_batch_start on_predict_batch_end on_predict_epoch_end on_predict_end
    on_exception
""".split()  # noqa: SIM905
OF_DATA = """
    prepare_data setup teardown train_dataloader val_dataloader test_dataloader predict_dataloader
    on_before_batch_transfer transfer_batch_to_device on_after_batch_transfer on_exception
""".split()  # noqa: SIM905


def recording(base: type, names: list[str], calls: list[str], who: str) -> type:
    """The class with each of these methods noting that it was called, before it does what it did."""

    def noting(name: str) -> Any:
        original = getattr(base, name)

        def hook(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(f"{who}{name}")
            return original(self, *args, **kwargs)

        return hook

    return type("Recording", (base,), {name: noting(name) for name in names})


def order(pl: Any, verb: str = "fit", manual: bool = False, fails: bool = False, batches: int = 2, **flags: Any) -> list[str]:
    """What one run calls: of a module, a callback (``CB.``) and a datamodule (``DM.``)."""
    calls: list[str] = []

    class Net(pl.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"lr": 0.1})
            self.layer = nn.Linear(4, CLASSES)
            self.automatic_optimization = not manual

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if fails:
                raise RuntimeError("the step")
            loss = nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
            if not manual:
                return loss
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward(nn.functional.cross_entropy(self.layer(batch[0]), batch[1]))
                optimizer.step()
            return None

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...
        def test_step(self, batch: Any, batch_idx: int) -> None: ...
        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            return batch[0]

        def configure_optimizers(self) -> Any:
            if manual:
                return [torch.optim.SGD(self.parameters(), 0.1) for _ in range(2)]
            optimizer = torch.optim.SGD(self.parameters(), 0.1)
            by_step = {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1), "interval": "step"}
            return [optimizer], [by_step, torch.optim.lr_scheduler.StepLR(optimizer, 1)]

        on_validation_model_train = on_test_model_train = lambda self: self.train()

    class Data(pl.LightningDataModule):  # type: ignore[misc,name-defined]
        def train_dataloader(self) -> Any:
            return loader(8 * batches, 8)

        val_dataloader = test_dataloader = predict_dataloader = lambda self: loader(8, 8)

    quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False, "accelerator": "cpu"}
    callback = recording(pl.Callback, OF_CALLBACK, calls, "CB.")()
    run = pl.Trainer(
        devices=1, callbacks=[callback], logger=False, **{**quiet, "num_sanity_val_steps": 1, "max_epochs": 1, **flags}
    )
    module = recording(Net, OF_MODULE, calls, "")()
    try:
        getattr(run, verb)(module, datamodule=recording(Data, OF_DATA, calls, "DM.")())
    except RuntimeError as error:
        assert str(error) == "the step"  # noqa: PT017
    return calls
