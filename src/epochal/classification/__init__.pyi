from .accuracy import (
    Accuracy as Accuracy,
)
from .accuracy import (
    BinaryAccuracy as BinaryAccuracy,
)
from .accuracy import (
    BinaryHammingDistance as BinaryHammingDistance,
)
from .accuracy import (
    BinaryStatScores as BinaryStatScores,
)
from .accuracy import (
    HammingDistance as HammingDistance,
)
from .accuracy import (
    MulticlassAccuracy as MulticlassAccuracy,
)
from .accuracy import (
    MulticlassHammingDistance as MulticlassHammingDistance,
)
from .accuracy import (
    MulticlassStatScores as MulticlassStatScores,
)
from .accuracy import (
    MultilabelAccuracy as MultilabelAccuracy,
)
from .accuracy import (
    MultilabelHammingDistance as MultilabelHammingDistance,
)
from .accuracy import (
    MultilabelStatScores as MultilabelStatScores,
)
from .accuracy import (
    StatScores as StatScores,
)
from .areas import AUROC as AUROC
from .areas import AreaMetric as AreaMetric
from .areas import AveragePrecision as AveragePrecision
from .areas import BinaryAUROC as BinaryAUROC
from .areas import BinaryAveragePrecision as BinaryAveragePrecision
from .areas import MulticlassArea as MulticlassArea
from .areas import MulticlassAUROC as MulticlassAUROC
from .areas import MulticlassAveragePrecision as MulticlassAveragePrecision
from .areas import MultilabelArea as MultilabelArea
from .areas import MultilabelAUROC as MultilabelAUROC
from .areas import MultilabelAveragePrecision as MultilabelAveragePrecision
from .confusion import (
    BinaryCohenKappa as BinaryCohenKappa,
)
from .confusion import (
    BinaryConfusionMatrix as BinaryConfusionMatrix,
)
from .confusion import (
    BinaryMatthewsCorrCoef as BinaryMatthewsCorrCoef,
)
from .confusion import (
    CohenKappa as CohenKappa,
)
from .confusion import (
    ConfusionMatrix as ConfusionMatrix,
)
from .confusion import (
    MatthewsCorrCoef as MatthewsCorrCoef,
)
from .confusion import (
    MulticlassCohenKappa as MulticlassCohenKappa,
)
from .confusion import (
    MulticlassConfusionMatrix as MulticlassConfusionMatrix,
)
from .confusion import (
    MulticlassMatthewsCorrCoef as MulticlassMatthewsCorrCoef,
)
from .confusion import (
    MultilabelConfusionMatrix as MultilabelConfusionMatrix,
)
from .confusion import (
    MultilabelMatthewsCorrCoef as MultilabelMatthewsCorrCoef,
)
from .counts import (
    BinaryScore as BinaryScore,
)
from .counts import (
    MulticlassScore as MulticlassScore,
)
from .counts import (
    MultilabelScore as MultilabelScore,
)
from .counts import (
    Score as Score,
)
from .curves import ROC as ROC
from .curves import BinaryPrecisionRecallCurve as BinaryPrecisionRecallCurve
from .curves import BinaryROC as BinaryROC
from .curves import CurveMetric as CurveMetric
from .curves import MulticlassCurve as MulticlassCurve
from .curves import MulticlassPrecisionRecallCurve as MulticlassPrecisionRecallCurve
from .curves import MulticlassROC as MulticlassROC
from .curves import MultilabelCurve as MultilabelCurve
from .curves import MultilabelPrecisionRecallCurve as MultilabelPrecisionRecallCurve
from .curves import MultilabelROC as MultilabelROC
from .curves import PrecisionRecallCurve as PrecisionRecallCurve
from .exact_match import (
    ExactMatch as ExactMatch,
)
from .exact_match import (
    MulticlassExactMatch as MulticlassExactMatch,
)
from .exact_match import (
    MultilabelExactMatch as MultilabelExactMatch,
)
from .fbeta import (
    F1 as F1,
)
from .fbeta import (
    BinaryF1Score as BinaryF1Score,
)
from .fbeta import (
    BinaryFBetaScore as BinaryFBetaScore,
)
from .fbeta import (
    F1Score as F1Score,
)
from .fbeta import (
    FBetaScore as FBetaScore,
)
from .fbeta import (
    MulticlassF1Score as MulticlassF1Score,
)
from .fbeta import (
    MulticlassFBetaScore as MulticlassFBetaScore,
)
from .fbeta import (
    MultilabelF1Score as MultilabelF1Score,
)
from .fbeta import (
    MultilabelFBetaScore as MultilabelFBetaScore,
)
from .jaccard import (
    BinaryJaccardIndex as BinaryJaccardIndex,
)
from .jaccard import (
    JaccardIndex as JaccardIndex,
)
from .jaccard import (
    MulticlassJaccardIndex as MulticlassJaccardIndex,
)
from .jaccard import (
    MultilabelJaccardIndex as MultilabelJaccardIndex,
)
from .precision import (
    BinaryNegativePredictiveValue as BinaryNegativePredictiveValue,
)
from .precision import (
    BinaryPrecision as BinaryPrecision,
)
from .precision import (
    BinaryRecall as BinaryRecall,
)
from .precision import (
    BinarySpecificity as BinarySpecificity,
)
from .precision import (
    MulticlassNegativePredictiveValue as MulticlassNegativePredictiveValue,
)
from .precision import (
    MulticlassPrecision as MulticlassPrecision,
)
from .precision import (
    MulticlassRecall as MulticlassRecall,
)
from .precision import (
    MulticlassSpecificity as MulticlassSpecificity,
)
from .precision import (
    MultilabelNegativePredictiveValue as MultilabelNegativePredictiveValue,
)
from .precision import (
    MultilabelPrecision as MultilabelPrecision,
)
from .precision import (
    MultilabelRecall as MultilabelRecall,
)
from .precision import (
    MultilabelSpecificity as MultilabelSpecificity,
)
from .precision import (
    NegativePredictiveValue as NegativePredictiveValue,
)
from .precision import (
    Precision as Precision,
)
from .precision import (
    Recall as Recall,
)
from .precision import (
    Specificity as Specificity,
)
from .ranked import BinaryRanked as BinaryRanked
from .ranked import RankedMetric as RankedMetric
