"""The metrics of old are a library of their own."""
# --- the block
import epochal as torchmetrics
