# Your own videos, on one GPU. For another folder, copy this file under the
# name of that data set and change the folder. See docs/your_videos.md.
_base_ = [
    '_base_/models/selfy_tsm_r50.py', '_base_/datasets/folder.py',
    '_base_/schedules/sgd_50e.py', '_base_/default_runtime.py'
]

from selfy_mmaction.datasets.recipes import use_folder

# frozen_classes: those that a flip would change, such as 'turn left'.
use_folder(_base_, 'data/mine', frozen_classes=[])

# Ours: the official rate of 0.01 for 64 clips, scaled to a batch of 8. TSM's,
# for data other than that of the weights: 5 times the rate for the classifier.
optim_wrapper = dict(
    paramwise_cfg=dict(fc_lr5=True), optimizer=dict(lr=0.01 * 8 / 64))
auto_scale_lr = dict(base_batch_size=8)
