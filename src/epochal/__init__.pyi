from . import aggregation as aggregation
from . import classification as classification
from . import functional as functional
from . import regression as regression
from . import testing as testing
from . import training as training
from .aggregation import (
    CatMetric as CatMetric,
    MaxMetric as MaxMetric,
    MeanMetric as MeanMetric,
    MinMetric as MinMetric,
    RunningMean as RunningMean,
    RunningSum as RunningSum,
    SumMetric as SumMetric,
)
from .arithmetic import CompositionalMetric as CompositionalMetric
from .collection import MetricCollection as MetricCollection
from .metric import Metric as Metric, held as held, leaves as leaves, metric_of as metric_of, synced as synced
from .classification.accuracy import Accuracy as Accuracy, HammingDistance as HammingDistance, StatScores as StatScores
from .classification.confusion import (
    CohenKappa as CohenKappa,
    ConfusionMatrix as ConfusionMatrix,
    MatthewsCorrCoef as MatthewsCorrCoef,
)
from .classification.exact_match import ExactMatch as ExactMatch
from .classification.fbeta import F1Score as F1Score, FBetaScore as FBetaScore
from .classification.jaccard import JaccardIndex as JaccardIndex
from .classification.precision import (
    NegativePredictiveValue as NegativePredictiveValue,
    Precision as Precision,
    Recall as Recall,
    Specificity as Specificity,
)
from .regression.mean_squared_error import MeanSquaredError as MeanSquaredError
