from .stss import stss

__all__ = ['stss']
