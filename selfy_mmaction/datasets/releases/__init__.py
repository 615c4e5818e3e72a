"""Original releases of data sets, to the lists that the configs read.

One file reads the annotations of one family of releases; finding and checking
the media, and writing the lists, is the same for all. A folder of your own
videos has a file to itself. Nothing here is used while a network trains.
"""

from .folder import FolderPreparation
from .preparation import RELEASES, Preparation

__all__ = ['RELEASES', 'FolderPreparation', 'Preparation']
