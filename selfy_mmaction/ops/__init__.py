"""STSS and its operator: functions on tensors; layers are in models/.

Everything here needs only torch.
"""
from .soft_argmax import soft_argmax
from .stream import STSSStream
from .stss import stss, within_map

__all__ = ['STSSStream', 'soft_argmax', 'stss', 'within_map']
