"""A metric of the first process alone."""
import epochal as torchmetrics
from epochal.training import LightningModule, rank_zero_only
from tests.seeds.filling import net
# --- the block
class MyModule(LightningModule):
    def __init__(self, num_classes):
        super().__init__()  # ...
        self.layer = net()  # ...
        self.metric = torchmetrics.image.FrechetInceptionDistance(sync_on_compute=False)

    def forward(self, x):  # ...
        return self.layer(x)  # ...

    @rank_zero_only
    def validation_step(self, batch, batch_idx):
        image, target = batch
        x = image  # ...
        generated_image = self(x)
        self.metric(image, real=True)
        self.metric(generated_image, real=False)
        val = self.metric.compute() # this will only be called on the main process
        self.log('val_fid', val)
