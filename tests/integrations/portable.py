"""A module, its data and its callback as a user writes them; test_portable.py runs the file with Lightning's import, too."""

import torch
from torch import nn
from torch.utils.data import DataLoader

import epochal.training as pl
from epochal.classification import MulticlassF1Score
from tests.training.toys import CLASSES, dataset


class Data(pl.LightningDataModule):
    def __init__(self, batch_size=8):
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage):
        self.train, self.held = dataset(52), dataset(29, seed=1)

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=self.hparams.batch_size)

    def val_dataloader(self):
        return DataLoader(self.held, batch_size=self.hparams.batch_size)

    test_dataloader = predict_dataloader = val_dataloader


class Classifier(pl.LightningModule):
    def __init__(self, hidden=6, lr=0.2):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))
        for weight in self.parameters():
            nn.init.constant_(weight, 0.1)
        nn.init.eye_(self.net[0].weight)
        self.f1 = MulticlassF1Score(CLASSES, average="macro")
        self.calls = []

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log_dict({"largest": loss, "samples": float(len(y))}, on_step=False, on_epoch=True, reduce_fx="sum")
        return {"loss": loss, "batch": batch_idx}

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.f1.update(self(x), y)
        self.log("f1", self.f1, prog_bar=True)
        self.log("val_loss", nn.functional.cross_entropy(self(x), y))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def predict_step(self, batch, batch_idx):
        return self(batch[0]).argmax(1)

    def on_train_epoch_start(self):
        self.calls.append(f"epoch {self.current_epoch}")

    def on_train_batch_start(self, batch, batch_idx):
        self.calls.append(f"batch {batch_idx}")

    def on_before_zero_grad(self, optimizer):
        self.calls.append("zero_grad")

    def on_before_backward(self, loss):
        self.calls.append("before_backward")

    def on_after_backward(self):
        self.log("gradient", self.net[0].weight.grad.norm(), on_step=False, on_epoch=True)

    def on_before_optimizer_step(self, optimizer):
        self.calls.append(f"step {self.global_step}")

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.calls.append(f"end {outputs['batch']}")

    def on_validation_epoch_end(self):
        self.log("epoch", float(self.current_epoch))
        self.calls.append("validated")

    def on_train_epoch_end(self):
        self.log("rate", self.lr_schedulers().get_last_lr()[0])

    def on_save_checkpoint(self, checkpoint):
        checkpoint["mine"] = len(self.calls)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.hparams.lr, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.7)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Watches(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.log("seen", float(batch_idx), on_step=False, on_epoch=True, reduce_fx="max")

    def on_validation_end(self, trainer, pl_module):
        pl_module.calls.append(f"{sorted(set(trainer.callback_metrics) & {'f1', 'val_loss'})}")


def run(folder):
    """A fit, a test, predictions and a module out of the checkpoint: all that can be compared."""
    pl.seed_everything(1)
    module, data = Classifier(), Data()
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=Watches(), accumulate_grad_batches=2, gradient_clip_val=0.5, num_sanity_val_steps=1,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    values = {name: value.item() for name, value in trainer.callback_metrics.items()}
    trainer.save_checkpoint(f"{folder}/a.ckpt")
    again = Classifier.load_from_checkpoint(f"{folder}/a.ckpt")
    assert again.hparams == {"hidden": 6, "lr": 0.2}
    assert torch.load(f"{folder}/a.ckpt", weights_only=False)["mine"] == len(module.calls)
    (tested,) = trainer.test(again, datamodule=data, verbose=False)
    predicted = torch.cat(trainer.predict(module, datamodule=data)).tolist()
    return (
        values,
        [weight.flatten().tolist() for weight in module.parameters()],
        module.calls,
        tested,
        predicted,
        trainer.global_step,
    )
