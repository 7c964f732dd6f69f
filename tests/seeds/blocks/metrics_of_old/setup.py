"""The names that the page's code starts from."""
# --- the block
import torch
from torch.nn import Module
from epochal.training.core.lightning import LightningModule
from epochal import Metric
