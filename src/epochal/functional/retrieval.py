"""The functions of :mod:`epochal.retrieval`, each of the documents of one query."""

from epochal.paths import answer_to
from epochal.retrieval.curve import retrieval_precision_recall_curve
from epochal.retrieval.hits import (
    retrieval_fall_out,
    retrieval_hit_rate,
    retrieval_precision,
    retrieval_r_precision,
    retrieval_recall,
)
from epochal.retrieval.places import (
    retrieval_auroc,
    retrieval_average_precision,
    retrieval_normalized_dcg,
    retrieval_reciprocal_rank,
)

__all__ = [
    "retrieval_auroc",
    "retrieval_average_precision",
    "retrieval_fall_out",
    "retrieval_hit_rate",
    "retrieval_normalized_dcg",
    "retrieval_precision",
    "retrieval_precision_recall_curve",
    "retrieval_r_precision",
    "retrieval_recall",
    "retrieval_reciprocal_rank",
]

answer_to(
    __name__,
    "auroc average_precision fall_out hit_rate ndcg precision precision_recall_curve r_precision recall reciprocal_rank",
)
