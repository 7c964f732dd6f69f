"""The metric is logged in the step and, under another name, in the epoch's end."""
import torch
import epochal as torchmetrics
from epochal.training import LightningModule
from tests.seeds.filling import net, optimizer
# --- the block
class MyModel(LightningModule):
    def __init__(self, num_classes):
        super().__init__()  # ...
        self.layer = net()  # ...
        self.accuracy = torchmetrics.classification.Accuracy(task="multiclass", num_classes=num_classes)

    def forward(self, x):  # ...
        return self.layer(x)  # ...

    def configure_optimizers(self):  # ...
        return optimizer(self)  # ...

    def training_step(self, batch, batch_idx):
        x, y = batch
        preds = self(x)
        loss = torch.nn.functional.cross_entropy(preds, y)  # ...
        # log step metric
        self.accuracy(preds, y)
        self.log('train_acc_step', self.accuracy)
        return loss  # ...

    def on_train_epoch_end(self):
        # log epoch metric
        self.log('train_acc_epoch', self.accuracy)
