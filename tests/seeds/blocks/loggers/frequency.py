"""How often the steps' values are logged."""
from epochal.training import Trainer
# --- the block
k = 10
trainer = Trainer(log_every_n_steps=k)
