"""Stays importable from here; see :mod:`selfy_mmaction.models.convert`."""
from .models.convert import (
    convert_moss_state_dict,
    convert_official_state_dict,
)

__all__ = ['convert_moss_state_dict', 'convert_official_state_dict']
