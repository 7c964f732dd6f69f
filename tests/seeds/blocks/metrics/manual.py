"""Values are logged by hand, and the metrics reset by hand."""
import torch
import epochal as torchmetrics
from epochal.training import LightningModule
from tests.seeds.filling import net, optimizer
# --- the block
class MyModule(LightningModule):
    def __init__(self, num_classes):
        super().__init__()  # ...
        self.layer = net()  # ...
        self.train_acc = torchmetrics.classification.Accuracy(task="multiclass", num_classes=num_classes)
        self.valid_acc = torchmetrics.classification.Accuracy(task="multiclass", num_classes=num_classes)

    def forward(self, x):  # ...
        return self.layer(x)  # ...

    def configure_optimizers(self):  # ...
        return optimizer(self)  # ...

    def training_step(self, batch, batch_idx):
        x, y = batch
        preds = self(x)
        loss = torch.nn.functional.cross_entropy(preds, y)  # ...
        batch_value = self.train_acc(preds, y)
        self.log('train_acc_step', batch_value)
        return loss  # ...

    def on_train_epoch_end(self):
        self.train_acc.reset()

    def validation_step(self, batch, batch_idx):
        x, y = batch  # ...
        logits = self(x)
        self.valid_acc.update(logits, y)

    def on_validation_epoch_end(self, outputs):
        self.log('valid_acc_epoch', self.valid_acc.compute())
        self.valid_acc.reset()
