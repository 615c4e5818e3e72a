# Kinetics-400 as folders of frames img_00001.jpg, ..., which MMAction2's
# tools/data/build_rawframes.py extracts.
_base_ = 'k400.py'

from selfy_mmaction.datasets.storage import use_rawframes  # noqa: E402

use_rawframes(_base_)
