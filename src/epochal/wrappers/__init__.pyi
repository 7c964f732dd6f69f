from .bootstrapping import BootStrapper as BootStrapper
from .classwise import ClasswiseWrapper as ClasswiseWrapper
from .min_max import MinMaxMetric as MinMaxMetric
from .transformers import BinaryTargetTransformer as BinaryTargetTransformer
from .transformers import LambdaInputTransformer as LambdaInputTransformer
from .transformers import MetricInputTransformer as MetricInputTransformer
