"""A metric for each loader."""
import torch
import epochal as torchmetrics
from torch import nn
from torch.utils.data import DataLoader
from epochal.training import LightningModule
from tests.seeds.filling import net
from tests.training.toys import dataset
# --- the block
class MyModule(LightningModule):
    def __init__(self, num_classes):
        super().__init__()  # ...
        self.layer = net()  # ...
        self.val_acc = nn.ModuleList(
            [torchmetrics.classification.Accuracy(task="multiclass", num_classes=num_classes) for _ in range(2)]
        )

    def forward(self, x):  # ...
        return self.layer(x)  # ...

    def val_dataloader(self):
        return [DataLoader(dataset(29, 1), 8), DataLoader(dataset(17, 2), 8)]

    def validation_step(self, batch, batch_idx, dataloader_idx):
        x, y = batch
        preds = self(x)
        self.val_acc[dataloader_idx](preds, y)
        self.log('val_acc', self.val_acc[dataloader_idx])
