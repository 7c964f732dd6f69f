"""The metric is called in one line and logged in the next."""
import torch
import epochal as torchmetrics
from epochal.training import LightningModule
from tests.seeds.filling import net, optimizer
class MyModule(LightningModule):
    def __init__(self):
        self.layer = net()
        self.accuracy = torchmetrics.Accuracy()

    def forward(self, x):
        return self.layer(x)

    def configure_optimizers(self):
        return optimizer(self)

    # --- the block
    def training_step(self, batch, batch_idx):
        x, y = batch
        preds = self(x)
        loss = torch.nn.functional.cross_entropy(preds, y)  # ...
        # log step metric
        self.accuracy(preds, y) # compute metrics
        self.log('train_acc_step', self.accuracy) # log metric object
        return loss  # ...
