"""The metric is logged in the step and its value in the epoch's end, which the page warns of."""
import epochal as torchmetrics
from epochal.training import LightningModule
from tests.seeds.filling import net
from tests.training.toys import CLASSES
class MyModule(LightningModule):
    def __init__(self):
        self.layer = net()
        self.metric = torchmetrics.F1Score(task="multiclass", num_classes=CLASSES, average="macro")

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.metric(self.layer(x), y)
        # --- the block
        self.log("val", self.metric)

    def on_validation_epoch_end(self):  # ...
        self.log("val", self.metric.compute())  # ...
