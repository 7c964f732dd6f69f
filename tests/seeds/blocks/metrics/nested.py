"""Members whose values are dictionaries. The page says that the first way fails; here both are right."""
import torch
from epochal import MetricCollection
from epochal.classification import MulticlassAccuracy
from epochal.training import LightningModule
from epochal.wrappers import MinMaxMetric
from tests.seeds.filling import net, optimizer
# --- the block
class MyModule(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = net(5)  # ...
        self.train_metrics = MetricCollection(
            {
                "macro_accuracy": MinMaxMetric(MulticlassAccuracy(num_classes=5, average="macro")),
                "weighted_accuracy": MinMaxMetric(MulticlassAccuracy(num_classes=5, average="weighted")),
            },
            prefix="train_",
        )

    def configure_optimizers(self):  # ...
        return optimizer(self)  # ...

    def training_step(self, batch, batch_idx):
        x, target = batch  # ...
        preds = self.layer(x)  # ...
        # logging the MetricCollection object directly will fail
        self.log_dict(self.train_metrics(preds, target))
        # manually computing the result and then logging will work
        batch_values = self.train_metrics(preds, target)
        self.log_dict(batch_values, on_step=True, on_epoch=False)
        return torch.nn.functional.cross_entropy(preds, target)  # ...

    def on_train_epoch_end(self):
        self.train_metrics.reset()
