"""Retrieval metrics."""

import lazy_loader

from epochal.paths import answer_to

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
answer_to(
    __name__,
    "auroc average_precision fall_out hit_rate ndcg precision precision_recall_curve r_precision recall reciprocal_rank",
)
