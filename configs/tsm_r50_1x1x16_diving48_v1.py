_base_ = [
    '_base_/models/tsm_r50.py', '_base_/datasets/diving48_v1.py',
    '_base_/schedules/sgd_50e.py', '_base_/default_runtime.py'
]

from selfy_mmaction.datasets.recipes import use_frames

# 16 frames, as in the paper. Ours: the recipe of Something-Something.
use_frames(_base_, 16)
model = dict(cls_head=dict(num_classes=48))
