from . import aggregation as aggregation
from . import audio as audio
from . import classification as classification
from . import clustering as clustering
from . import detection as detection
from . import functional as functional
from . import image as image
from . import nominal as nominal
from . import regression as regression
from . import retrieval as retrieval
from . import segmentation as segmentation
from . import testing as testing
from . import text as text
from . import training as training
from . import wrappers as wrappers
from .aggregation import (
    CatMetric as CatMetric,
)
from .aggregation import (
    MaxMetric as MaxMetric,
)
from .aggregation import (
    MeanMetric as MeanMetric,
)
from .aggregation import (
    MinMetric as MinMetric,
)
from .aggregation import (
    RunningMean as RunningMean,
)
from .aggregation import (
    RunningSum as RunningSum,
)
from .aggregation import (
    SumMetric as SumMetric,
)
from .arithmetic import CompositionalMetric as CompositionalMetric
from .audio.distortion import SignalDistortionRatio as SignalDistortionRatio
from .audio.noise import ScaleInvariantSignalDistortionRatio as ScaleInvariantSignalDistortionRatio
from .audio.noise import ScaleInvariantSignalNoiseRatio as ScaleInvariantSignalNoiseRatio
from .audio.noise import SignalNoiseRatio as SignalNoiseRatio
from .audio.permutation import PermutationInvariantTraining as PermutationInvariantTraining
from .classification.accuracy import Accuracy as Accuracy
from .classification.accuracy import HammingDistance as HammingDistance
from .classification.accuracy import StatScores as StatScores
from .classification.areas import AUROC as AUROC
from .classification.areas import AveragePrecision as AveragePrecision
from .classification.confusion import (
    CohenKappa as CohenKappa,
)
from .classification.confusion import (
    ConfusionMatrix as ConfusionMatrix,
)
from .classification.confusion import (
    MatthewsCorrCoef as MatthewsCorrCoef,
)
from .classification.curves import ROC as ROC
from .classification.curves import PrecisionRecallCurve as PrecisionRecallCurve
from .classification.exact_match import ExactMatch as ExactMatch
from .classification.fbeta import F1 as F1
from .classification.fbeta import F1Score as F1Score
from .classification.fbeta import FBetaScore as FBetaScore
from .classification.jaccard import JaccardIndex as JaccardIndex
from .classification.precision import (
    NegativePredictiveValue as NegativePredictiveValue,
)
from .classification.precision import (
    Precision as Precision,
)
from .classification.precision import (
    Recall as Recall,
)
from .classification.precision import (
    Specificity as Specificity,
)
from .collection import MetricCollection as MetricCollection
from .image.peak import PeakSignalNoiseRatio as PeakSignalNoiseRatio
from .image.structure import MultiScaleStructuralSimilarityIndexMeasure as MultiScaleStructuralSimilarityIndexMeasure
from .image.structure import StructuralSimilarityIndexMeasure as StructuralSimilarityIndexMeasure
from .metric import Metric as Metric
from .metric import held as held
from .metric import leaves as leaves
from .metric import metric_of as metric_of
from .metric import synced as synced
from .nominal.association import CramersV as CramersV
from .regression.errors import MeanAbsoluteError as MeanAbsoluteError
from .regression.errors import MeanSquaredError as MeanSquaredError
from .regression.joint import PearsonCorrCoef as PearsonCorrCoef
from .regression.joint import R2Score as R2Score
from .regression.ranked import KendallRankCorrCoef as KendallRankCorrCoef
from .regression.ranked import SpearmanCorrCoef as SpearmanCorrCoef
from .retrieval.curve import RetrievalPrecisionRecallCurve as RetrievalPrecisionRecallCurve
from .retrieval.curve import RetrievalRecallAtFixedPrecision as RetrievalRecallAtFixedPrecision
from .retrieval.hits import RetrievalFallOut as RetrievalFallOut
from .retrieval.hits import RetrievalHitRate as RetrievalHitRate
from .retrieval.hits import RetrievalPrecision as RetrievalPrecision
from .retrieval.hits import RetrievalRecall as RetrievalRecall
from .retrieval.hits import RetrievalRPrecision as RetrievalRPrecision
from .retrieval.places import RetrievalMAP as RetrievalMAP
from .retrieval.places import RetrievalMRR as RetrievalMRR
from .retrieval.places import RetrievalNormalizedDCG as RetrievalNormalizedDCG
from .text.bleu import BLEUScore as BLEUScore
from .text.bleu import SacreBLEUScore as SacreBLEUScore
from .text.chrf import CHRFScore as CHRFScore
from .text.edits import CharErrorRate as CharErrorRate
from .text.edits import MatchErrorRate as MatchErrorRate
from .text.edits import WordErrorRate as WordErrorRate
from .text.edits import WordInfoLost as WordInfoLost
from .text.edits import WordInfoPreserved as WordInfoPreserved
from .wrappers.bootstrapping import BootStrapper as BootStrapper
from .wrappers.classwise import ClasswiseWrapper as ClasswiseWrapper
from .wrappers.min_max import MinMaxMetric as MinMaxMetric
from .wrappers.multioutput import MultioutputWrapper as MultioutputWrapper
from .wrappers.multitask import MultitaskWrapper as MultitaskWrapper
from .wrappers.tracker import MetricTracker as MetricTracker
