"""How often what is logged is written."""
from epochal.training import Trainer
# --- the block
# faster training, high memory
Trainer(flush_logs_every_n_steps=500)

# slower training, low memory
Trainer(flush_logs_every_n_steps=500)
