from .soft_argmax import soft_argmax
from .stss import stss

__all__ = ['soft_argmax', 'stss']
