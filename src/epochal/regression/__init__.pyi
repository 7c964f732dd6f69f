from .errors import MeanAbsoluteError as MeanAbsoluteError
from .errors import MeanSquaredError as MeanSquaredError
from .joint import PearsonCorrCoef as PearsonCorrCoef
from .joint import R2Score as R2Score
from .ranked import KendallRankCorrCoef as KendallRankCorrCoef
from .ranked import SpearmanCorrCoef as SpearmanCorrCoef
