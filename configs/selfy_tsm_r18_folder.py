# Your own videos, on a CPU: the quickstart's network, at half the official
# size. For another folder, copy this file under the name of that data set and
# change the folder. See docs/your_videos.md.
_base_ = [
    '_base_/models/selfy_tsm_r18_2stages.py', '_base_/datasets/folder.py',
    '_base_/default_runtime.py'
]

from selfy_mmaction.datasets.pipelines import use_folder, use_size

# frozen_classes: those that a flip would change, such as 'turn left'.
use_folder(_base_, 'data/mine', frozen_classes=[])
use_size(_base_, 112)

# The published network; None is from scratch.
load_from = '{{fileDirname}}/../checkpoints/' \
    'selfy_tsm_r18_motion_20261122-9b0c18ca.pth'

epochs = 30
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=20))
# The rate rises for the first third and falls to zero, batch by batch.
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=1e-3,
        total_steps=epochs,
        pct_start=0.3,
        convert_to_iter_based=True)
]
