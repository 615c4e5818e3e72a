_base_ = [
    '_base_/models/selfy_vit_b16.py', '_base_/datasets/sthv2.py',
    '_base_/datasets/videomae_pipelines.py',
    '_base_/schedules/videomae_50e.py', '_base_/default_runtime.py'
]

from selfy_mmaction.datasets.recipes import find_step

# Ours: the backbone of MMAction2's VideoMAE network for Kinetics-400, since
# its zoo has none for Something-Something; the head is new. VideoMAE
# pre-trains on the data set itself.
load_from = (
    'https://download.openmmlab.com/mmaction/v1.0/recognition/videomae/'
    'vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3.pth')

# VideoMAE flips no clip of this data set.
find_step(_base_.videomae_train, 'Flip').flip_ratio = 0

test_pipeline = _base_.videomae_test
train_dataloader = dict(dataset=dict(pipeline=_base_.videomae_train))
val_dataloader = dict(dataset=dict(pipeline=_base_.videomae_val))
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
