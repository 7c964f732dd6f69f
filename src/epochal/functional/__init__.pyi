from . import audio as audio
from . import classification as classification
from . import clustering as clustering
from . import detection as detection
from . import image as image
from . import nominal as nominal
from . import pairwise as pairwise
from . import regression as regression
from . import retrieval as retrieval
from . import segmentation as segmentation
from . import text as text
from .audio import permutation_invariant_training as permutation_invariant_training
from .audio import pit_permutate as pit_permutate
from .audio import scale_invariant_signal_distortion_ratio as scale_invariant_signal_distortion_ratio
from .audio import scale_invariant_signal_noise_ratio as scale_invariant_signal_noise_ratio
from .audio import signal_distortion_ratio as signal_distortion_ratio
from .audio import signal_noise_ratio as signal_noise_ratio
from .classification import (
    accuracy as accuracy,
)
from .classification import auroc as auroc
from .classification import average_precision as average_precision
from .classification import (
    binary_accuracy as binary_accuracy,
)
from .classification import binary_auroc as binary_auroc
from .classification import binary_average_precision as binary_average_precision
from .classification import (
    binary_cohen_kappa as binary_cohen_kappa,
)
from .classification import (
    binary_confusion_matrix as binary_confusion_matrix,
)
from .classification import (
    binary_f1_score as binary_f1_score,
)
from .classification import (
    binary_fbeta_score as binary_fbeta_score,
)
from .classification import (
    binary_hamming_distance as binary_hamming_distance,
)
from .classification import (
    binary_jaccard_index as binary_jaccard_index,
)
from .classification import (
    binary_matthews_corrcoef as binary_matthews_corrcoef,
)
from .classification import (
    binary_negative_predictive_value as binary_negative_predictive_value,
)
from .classification import (
    binary_precision as binary_precision,
)
from .classification import binary_precision_recall_curve as binary_precision_recall_curve
from .classification import (
    binary_recall as binary_recall,
)
from .classification import binary_roc as binary_roc
from .classification import (
    binary_specificity as binary_specificity,
)
from .classification import (
    binary_stat_scores as binary_stat_scores,
)
from .classification import (
    cohen_kappa as cohen_kappa,
)
from .classification import (
    confusion_matrix as confusion_matrix,
)
from .classification import (
    exact_match as exact_match,
)
from .classification import (
    f1_score as f1_score,
)
from .classification import (
    fbeta_score as fbeta_score,
)
from .classification import (
    hamming_distance as hamming_distance,
)
from .classification import (
    jaccard_index as jaccard_index,
)
from .classification import (
    matthews_corrcoef as matthews_corrcoef,
)
from .classification import (
    multiclass_accuracy as multiclass_accuracy,
)
from .classification import multiclass_auroc as multiclass_auroc
from .classification import multiclass_average_precision as multiclass_average_precision
from .classification import (
    multiclass_cohen_kappa as multiclass_cohen_kappa,
)
from .classification import (
    multiclass_confusion_matrix as multiclass_confusion_matrix,
)
from .classification import (
    multiclass_exact_match as multiclass_exact_match,
)
from .classification import (
    multiclass_f1_score as multiclass_f1_score,
)
from .classification import (
    multiclass_fbeta_score as multiclass_fbeta_score,
)
from .classification import (
    multiclass_hamming_distance as multiclass_hamming_distance,
)
from .classification import (
    multiclass_jaccard_index as multiclass_jaccard_index,
)
from .classification import (
    multiclass_matthews_corrcoef as multiclass_matthews_corrcoef,
)
from .classification import (
    multiclass_negative_predictive_value as multiclass_negative_predictive_value,
)
from .classification import (
    multiclass_precision as multiclass_precision,
)
from .classification import multiclass_precision_recall_curve as multiclass_precision_recall_curve
from .classification import (
    multiclass_recall as multiclass_recall,
)
from .classification import multiclass_roc as multiclass_roc
from .classification import (
    multiclass_specificity as multiclass_specificity,
)
from .classification import (
    multiclass_stat_scores as multiclass_stat_scores,
)
from .classification import (
    multilabel_accuracy as multilabel_accuracy,
)
from .classification import multilabel_auroc as multilabel_auroc
from .classification import multilabel_average_precision as multilabel_average_precision
from .classification import (
    multilabel_confusion_matrix as multilabel_confusion_matrix,
)
from .classification import (
    multilabel_exact_match as multilabel_exact_match,
)
from .classification import (
    multilabel_f1_score as multilabel_f1_score,
)
from .classification import (
    multilabel_fbeta_score as multilabel_fbeta_score,
)
from .classification import (
    multilabel_hamming_distance as multilabel_hamming_distance,
)
from .classification import (
    multilabel_jaccard_index as multilabel_jaccard_index,
)
from .classification import (
    multilabel_matthews_corrcoef as multilabel_matthews_corrcoef,
)
from .classification import (
    multilabel_negative_predictive_value as multilabel_negative_predictive_value,
)
from .classification import (
    multilabel_precision as multilabel_precision,
)
from .classification import multilabel_precision_recall_curve as multilabel_precision_recall_curve
from .classification import (
    multilabel_recall as multilabel_recall,
)
from .classification import multilabel_roc as multilabel_roc
from .classification import (
    multilabel_specificity as multilabel_specificity,
)
from .classification import (
    multilabel_stat_scores as multilabel_stat_scores,
)
from .classification import (
    negative_predictive_value as negative_predictive_value,
)
from .classification import (
    precision as precision,
)
from .classification import precision_recall_curve as precision_recall_curve
from .classification import (
    recall as recall,
)
from .classification import roc as roc
from .classification import (
    specificity as specificity,
)
from .classification import (
    stat_scores as stat_scores,
)
from .clustering import adjusted_mutual_info_score as adjusted_mutual_info_score
from .clustering import adjusted_rand_score as adjusted_rand_score
from .clustering import completeness_score as completeness_score
from .clustering import fowlkes_mallows_index as fowlkes_mallows_index
from .clustering import homogeneity_score as homogeneity_score
from .clustering import mutual_info_score as mutual_info_score
from .clustering import normalized_mutual_info_score as normalized_mutual_info_score
from .clustering import rand_score as rand_score
from .clustering import v_measure_score as v_measure_score
from .detection import complete_intersection_over_union as complete_intersection_over_union
from .detection import distance_intersection_over_union as distance_intersection_over_union
from .detection import generalized_intersection_over_union as generalized_intersection_over_union
from .detection import intersection_over_union as intersection_over_union
from .detection import mean_average_precision as mean_average_precision
from .image import multiscale_structural_similarity_index_measure as multiscale_structural_similarity_index_measure
from .image import peak_signal_noise_ratio as peak_signal_noise_ratio
from .image import structural_similarity_index_measure as structural_similarity_index_measure
from .nominal import cramers_v as cramers_v
from .nominal import cramers_v_matrix as cramers_v_matrix
from .pairwise import pairwise_cosine_similarity as pairwise_cosine_similarity
from .pairwise import pairwise_euclidean_distance as pairwise_euclidean_distance
from .pairwise import pairwise_linear_similarity as pairwise_linear_similarity
from .pairwise import pairwise_manhattan_distance as pairwise_manhattan_distance
from .pairwise import pairwise_minkowski_distance as pairwise_minkowski_distance
from .regression import kendall_rank_corrcoef as kendall_rank_corrcoef
from .regression import mean_absolute_error as mean_absolute_error
from .regression import mean_squared_error as mean_squared_error
from .regression import pearson_corrcoef as pearson_corrcoef
from .regression import r2_score as r2_score
from .regression import spearman_corrcoef as spearman_corrcoef
from .retrieval import retrieval_auroc as retrieval_auroc
from .retrieval import retrieval_average_precision as retrieval_average_precision
from .retrieval import retrieval_fall_out as retrieval_fall_out
from .retrieval import retrieval_hit_rate as retrieval_hit_rate
from .retrieval import retrieval_normalized_dcg as retrieval_normalized_dcg
from .retrieval import retrieval_precision as retrieval_precision
from .retrieval import retrieval_precision_recall_curve as retrieval_precision_recall_curve
from .retrieval import retrieval_r_precision as retrieval_r_precision
from .retrieval import retrieval_recall as retrieval_recall
from .retrieval import retrieval_reciprocal_rank as retrieval_reciprocal_rank
from .segmentation import dice_score as dice_score
from .segmentation import mean_iou as mean_iou
from .text import bleu_score as bleu_score
from .text import char_error_rate as char_error_rate
from .text import chrf_score as chrf_score
from .text import edit_distance as edit_distance
from .text import match_error_rate as match_error_rate
from .text import rouge_score as rouge_score
from .text import sacre_bleu_score as sacre_bleu_score
from .text import word_error_rate as word_error_rate
from .text import word_information_lost as word_information_lost
from .text import word_information_preserved as word_information_preserved
