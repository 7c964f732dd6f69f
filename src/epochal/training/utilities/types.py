"""Where Lightning has the types that hooks are annotated with."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import Tensor

STEP_OUTPUT: TypeAlias = Tensor | Mapping[str, Any] | None
TRAIN_DATALOADERS: TypeAlias = Any  # a loader, or a list or a dict of them
EVAL_DATALOADERS: TypeAlias = Any
OptimizerLRScheduler: TypeAlias = Any  # what configure_optimizers returns

__all__ = ["EVAL_DATALOADERS", "STEP_OUTPUT", "TRAIN_DATALOADERS", "OptimizerLRScheduler"]
