_base_ = [
    '_base_/models/tsn_r50.py', '_base_/datasets/gym288.py',
    '_base_/schedules/sgd_50e.py', '_base_/mean_class_runtime.py'
]

# Ours: the recipe of Something-Something.
model = dict(
    backbone=dict(num_segments=16),
    cls_head=dict(num_segments=16, num_classes=288))
