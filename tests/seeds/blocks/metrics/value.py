"""What the metric returned is logged instead of the metric, which the page warns of."""
import epochal as torchmetrics
from epochal.training import LightningModule
from tests.seeds.filling import net
from tests.training.toys import CLASSES
class MyModule(LightningModule):
    def __init__(self):
        self.layer = net()
        self.metric = torchmetrics.F1Score(task="multiclass", num_classes=CLASSES, average="macro")

    def validation_step(self, batch, batch_idx):
        x, target = batch
        preds = self.layer(x)
        # --- the block
        self.log("val", self.metric(preds, target))
