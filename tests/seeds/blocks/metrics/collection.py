"""A collection for training and a clone of it for validation."""
import torch
import epochal as torchmetrics
from epochal.training import LightningModule
from tests.seeds.filling import net, optimizer
from tests.training.toys import CLASSES as num_classes
# --- the block
class MyModule(LightningModule):
    def __init__(self):
        super().__init__()  # ...
        self.layer = net()  # ...
        self.train_metrics = torchmetrics.MetricCollection(
            {
                "accuracy": torchmetrics.classification.Accuracy(task="multiclass", num_classes=num_classes),
                "f1": torchmetrics.classification.F1(task="multiclass", num_classes=num_classes),
            },
            prefix="train_",
        )
        self.valid_metrics = self.train_metrics.clone(prefix="valid_")

    def forward(self, x):  # ...
        return self.layer(x)  # ...

    def configure_optimizers(self):  # ...
        return optimizer(self)  # ...

    def training_step(self, batch, batch_idx):
        x, y = batch
        preds = self(x)
        loss = torch.nn.functional.cross_entropy(preds, y)  # ...
        batch_value = self.train_metrics(preds, y)
        self.log_dict(batch_value)
        return loss  # ...

    def on_train_epoch_end(self):
        self.train_metrics.reset()

    def validation_step(self, batch, batch_idx):
        x, y = batch  # ...
        logits = self(x)
        self.valid_metrics.update(logits, y)

    def on_validation_epoch_end(self, outputs):
        self.log_dict(self.valid_metrics.compute())
        self.valid_metrics.reset()
