"""Logs in an object store."""
from epochal.training import Trainer
from tests.seeds.blocks.metrics_of_old.my_model import MyModel
from tests.training.toys import loader
class Brief(MyModel):
    train_dataloader = staticmethod(loader)

    def on_train_epoch_end(self):
        self.trainer.should_stop = self.current_epoch == 1
model = Brief()
# --- the block
from epochal.training.loggers import TensorBoardLogger

logger = TensorBoardLogger(save_dir="s3://my_bucket/logs/")

trainer = Trainer(logger=logger)
trainer.fit(model)
