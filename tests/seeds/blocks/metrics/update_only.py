"""The metric is updated, not called, and logged."""
import torch
import epochal as torchmetrics
from epochal.training import LightningModule
from tests.seeds.filling import net
# --- the block
class MyModule(LightningModule):
    def __init__(self, num_classes):
        super().__init__()  # ...
        self.layer = net()  # ...
        self.valid_acc = torchmetrics.classification.Accuracy(task="multiclass", num_classes=num_classes)

    def forward(self, x):  # ...
        return self.layer(x)  # ...

    def validation_step(self, batch, batch_idx):
        x, y = batch  # ...
        logits = self(x)
        self.valid_acc.update(logits, y)
        self.log('valid_acc', self.valid_acc, on_step=True, on_epoch=True)
