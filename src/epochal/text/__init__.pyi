from .edits import CharErrorRate as CharErrorRate
from .edits import EditDistance as EditDistance
from .edits import MatchErrorRate as MatchErrorRate
from .edits import WordErrorRate as WordErrorRate
from .edits import WordInfoLost as WordInfoLost
from .edits import WordInfoPreserved as WordInfoPreserved
