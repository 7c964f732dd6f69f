"""The values of a collection's batches are logged, which Lightning averages."""
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
        
        output = self.train_metrics(out, label.int())
        self.log_dict(output, on_step=False, on_epoch=True)
        return loss
