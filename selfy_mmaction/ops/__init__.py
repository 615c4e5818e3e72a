"""STSS and what belongs to it: functions of tensors; layers are in models/.

Everything here needs torch alone.
"""
from .soft_argmax import soft_argmax
from .stream import STSSStream
from .stss import stss

__all__ = ['STSSStream', 'soft_argmax', 'stss']
