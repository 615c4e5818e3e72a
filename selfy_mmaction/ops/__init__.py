from .soft_argmax import soft_argmax
from .stream import STSSStream
from .stss import stss

__all__ = ['STSSStream', 'soft_argmax', 'stss']
