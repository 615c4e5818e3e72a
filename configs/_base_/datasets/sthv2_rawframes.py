# Something-Something V2 as folders of frames img_00001.jpg, ..., which
# MMAction2's tools/data/build_rawframes.py extracts.
_base_ = 'sthv2.py'

from selfy_mmaction.datasets.storage import use_rawframes  # noqa: E402

use_rawframes(_base_)
