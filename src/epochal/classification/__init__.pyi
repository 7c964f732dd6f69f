from .accuracy import (
    Accuracy as Accuracy,
    BinaryAccuracy as BinaryAccuracy,
    BinaryHammingDistance as BinaryHammingDistance,
    BinaryStatScores as BinaryStatScores,
    HammingDistance as HammingDistance,
    MulticlassAccuracy as MulticlassAccuracy,
    MulticlassHammingDistance as MulticlassHammingDistance,
    MulticlassStatScores as MulticlassStatScores,
    MultilabelAccuracy as MultilabelAccuracy,
    MultilabelHammingDistance as MultilabelHammingDistance,
    MultilabelStatScores as MultilabelStatScores,
    StatScores as StatScores,
)
from .confusion import (
    BinaryCohenKappa as BinaryCohenKappa,
    BinaryConfusionMatrix as BinaryConfusionMatrix,
    BinaryMatthewsCorrCoef as BinaryMatthewsCorrCoef,
    CohenKappa as CohenKappa,
    ConfusionMatrix as ConfusionMatrix,
    MatthewsCorrCoef as MatthewsCorrCoef,
    MulticlassCohenKappa as MulticlassCohenKappa,
    MulticlassConfusionMatrix as MulticlassConfusionMatrix,
    MulticlassMatthewsCorrCoef as MulticlassMatthewsCorrCoef,
    MultilabelConfusionMatrix as MultilabelConfusionMatrix,
    MultilabelMatthewsCorrCoef as MultilabelMatthewsCorrCoef,
)
from .exact_match import (
    ExactMatch as ExactMatch,
    MulticlassExactMatch as MulticlassExactMatch,
    MultilabelExactMatch as MultilabelExactMatch,
)
from .fbeta import (
    BinaryF1Score as BinaryF1Score,
    BinaryFBetaScore as BinaryFBetaScore,
    F1 as F1,
    F1Score as F1Score,
    FBetaScore as FBetaScore,
    MulticlassF1Score as MulticlassF1Score,
    MulticlassFBetaScore as MulticlassFBetaScore,
    MultilabelF1Score as MultilabelF1Score,
    MultilabelFBetaScore as MultilabelFBetaScore,
)
from .jaccard import (
    BinaryJaccardIndex as BinaryJaccardIndex,
    JaccardIndex as JaccardIndex,
    MulticlassJaccardIndex as MulticlassJaccardIndex,
    MultilabelJaccardIndex as MultilabelJaccardIndex,
)
from .precision import (
    BinaryNegativePredictiveValue as BinaryNegativePredictiveValue,
    BinaryPrecision as BinaryPrecision,
    BinaryRecall as BinaryRecall,
    BinarySpecificity as BinarySpecificity,
    MulticlassNegativePredictiveValue as MulticlassNegativePredictiveValue,
    MulticlassPrecision as MulticlassPrecision,
    MulticlassRecall as MulticlassRecall,
    MulticlassSpecificity as MulticlassSpecificity,
    MultilabelNegativePredictiveValue as MultilabelNegativePredictiveValue,
    MultilabelPrecision as MultilabelPrecision,
    MultilabelRecall as MultilabelRecall,
    MultilabelSpecificity as MultilabelSpecificity,
    NegativePredictiveValue as NegativePredictiveValue,
    Precision as Precision,
    Recall as Recall,
    Specificity as Specificity,
)
from .counts import (
    BinaryScore as BinaryScore,
    MulticlassScore as MulticlassScore,
    MultilabelScore as MultilabelScore,
    Score as Score,
)
