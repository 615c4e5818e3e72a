"""From original releases of data sets to the lists that the configs read.

``readers`` reads the annotations of each release; the code that finds and
checks the media and writes the lists is shared. A folder of your own videos
has its own file. Training uses nothing of this.
"""

from .folder import FolderPreparation
from .preparation import RELEASES, Preparation

__all__ = ['RELEASES', 'FolderPreparation', 'Preparation']
