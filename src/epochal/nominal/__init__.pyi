from .association import CramersV as CramersV
