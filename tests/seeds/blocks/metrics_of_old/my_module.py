"""The metric itself is logged."""
import torch
import epochal as torchmetrics
from epochal.training import LightningModule
from tests.seeds.filling import net, optimizer
# --- the block
class MyModule(LightningModule):

    def __init__(self):
        super().__init__()  # ...
        self.layer = net()  # ...
        self.train_acc = torchmetrics.Accuracy()
        self.valid_acc = torchmetrics.Accuracy()

    def forward(self, x):  # ...
        return self.layer(x)  # ...

    def configure_optimizers(self):  # ...
        return optimizer(self)  # ...

    def training_step(self, batch, batch_idx):
        x, y = batch
        preds = self(x)
        loss = torch.nn.functional.cross_entropy(preds, y)  # ...
        self.train_acc(preds, y)
        self.log('train_acc', self.train_acc, on_step=True, on_epoch=False)
        return loss  # ...

    def validation_step(self, batch, batch_idx):
        x, y = batch  # ...
        logits = self(x)
        self.valid_acc(logits, y)
        self.log('valid_acc', self.valid_acc, on_step=True, on_epoch=True)
