# Something-Something V1 encoded as videos, ID.mp4, as MMAction2's
# tools/data/sthv1/encode_videos.sh leaves them.
_base_ = 'sthv1.py'

from selfy_mmaction.datasets.storage import use_videos  # noqa: E402

use_videos(_base_)
