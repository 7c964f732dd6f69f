"""The step's value is logged in the step, the epoch's in its end."""
import torch
import epochal as torchmetrics
from epochal.training import LightningModule
from tests.seeds.filling import net, optimizer
# --- the block
class MyModel(LightningModule):

    def __init__(self):
        super().__init__()  # ...
        self.layer = net()  # ...
        self.accuracy = torchmetrics.Accuracy()

    def forward(self, x):  # ...
        return self.layer(x)  # ...

    def configure_optimizers(self):  # ...
        return optimizer(self)  # ...

    def training_step(self, batch, batch_idx):
        x, y = batch
        preds = self(x)
        loss = torch.nn.functional.cross_entropy(preds, y)  # ...
        # log step metric
        self.log('train_acc_step', self.accuracy(preds, y))
        return loss  # ...

    def training_epoch_end(self, outs):
        # log epoch metric
        self.log('train_acc_epoch', self.accuracy.compute())
