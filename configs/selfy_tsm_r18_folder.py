# Your own videos, on a CPU: the quickstart's network, at half the official
# size. For another folder, copy this file under the name of that data set and
# change the folder. Size and epochs are ours. See docs/your_videos.md.
_base_ = [
    '_base_/models/selfy_tsm_r18_2stages.py', '_base_/datasets/folder.py',
    '_base_/schedules/adamw_1e.py', '_base_/default_runtime.py'
]

from selfy_mmaction.datasets.recipes import use_folder, use_size

# frozen_classes: those that a flip would change, such as 'turn left'.
use_folder(_base_, 'data/mine', frozen_classes=[])
use_size(_base_, 112)

# The published network, in a clone of the repository; elsewhere give the path
# of a checkpoint, or None to begin from scratch.
load_from = '{{fileDirname}}/../checkpoints/' \
    'selfy_tsm_r18_motion_20261122-9b0c18ca.pth'

train_cfg = dict(max_epochs=30)
