from .motion import soft_argmax
from .stss import stss

__all__ = ['soft_argmax', 'stss']
