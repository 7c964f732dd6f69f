"""A module that logs a metric of one's own."""
import torch
from epochal.training import LightningModule
from tests.seeds.blocks.loggers.my_accuracy import MyAccuracy
from tests.seeds.filling import net, optimizer
# --- the block
class LitModel(LightningModule):

    def __init__(self):
        # 1. initialize the metric
        self.accuracy = MyAccuracy()
        self.layer = net()  # ...

    def forward(self, x):  # ...
        return self.layer(x)  # ...

    def configure_optimizers(self):  # ...
        return optimizer(self)  # ...

    def training_step(self, batch, batch_idx):
        x, y = batch
        preds = self(x)

        # 2. compute the metric 
        self.accuracy(preds, y)

        # 3. log it
        self.log('train_acc_step', self.accuracy)
        return torch.nn.functional.cross_entropy(preds, y)  # ...
