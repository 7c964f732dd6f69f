from .base import ProgressBar as ProgressBar
from .base import ProgressBarBase as ProgressBarBase
from .rich_bar import RichProgressBar as RichProgressBar
from .rich_bar import RichProgressBarTheme as RichProgressBarTheme
from .tqdm_bar import Tqdm as Tqdm
from .tqdm_bar import TQDMProgressBar as TQDMProgressBar
