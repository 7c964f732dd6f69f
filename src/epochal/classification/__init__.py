"""Classification metrics, for binary, multiclass and multilabel tasks."""

import lazy_loader

from epochal.paths import answer_to

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
answer_to(
    __name__,
    "auroc average_precision cohen_kappa confusion_matrix f_beta hamming matthews_corrcoef "
    "negative_predictive_value precision_recall precision_recall_curve roc specificity stat_scores",
)
