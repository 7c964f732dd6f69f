"""The names that the page's code starts from."""
# --- the block
from epochal.training.trainer.trainer import Trainer
from epochal.training.core.lightning import LightningModule
