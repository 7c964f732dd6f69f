"""The collection is updated in the step, computed and reset in the epoch's end."""
import epochal as torchmetrics
import epochal.training as pl
# --- the block
class BaseModule(pl.LightningModule):
    def __init__(self):
        self.train_metrics = torchmetrics.MetricCollection(
            [
                torchmetrics.Accuracy(),
                torchmetrics.Precision(),
                torchmetrics.Recall(),
                torchmetrics.F1Score(),
            ]
        )

    def training_step(self, batch, batch_idx):
        label = self.get_label(batch)
        out = self.forward(batch)
        loss = self.loss_fn(out, label)
        
        self.train_metrics.update(out, label.int())
        return loss
    
    def training_epoch_end(self, outputs):
        self.log_dict(self.train_metrics.compute(), on_step=False, on_epoch=True)
        self.train_metrics.reset()
