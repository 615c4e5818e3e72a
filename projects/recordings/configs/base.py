# What the three sets share: three stages of ResNet-18 from scratch at 88 x 88.
# The block is after the first stage, whose map it compares at 11 x 11.
_base_ = [
    '../../../configs/_base_/models/selfy_tsm_r18_2stages.py',
    '../../../configs/_base_/datasets/folder.py',
    '../../../configs/_base_/schedules/adamw_1e.py',
    '../../../configs/_base_/default_runtime.py'
]

from selfy_mmaction.datasets.recipes import find_step, use_size

use_size(_base_, 88)
train_loader, test_loader = _base_.train_dataloader, _base_.test_dataloader
for pipeline in (train_loader.dataset.pipeline, test_loader.dataset.pipeline,
                 _base_.test_pipeline):
    # The clips are cropped to the person or the lips already.
    find_step(pipeline, 'Resize').scale = (96, 96)
# Gentle crops: if they go down to two thirds, so few steps do not suffice to
# learn the training clips.
find_step(train_loader.dataset.pipeline, 'Crop').scales = (1, 0.875)
# Decoding takes a small part of a step.
for loader in train_loader, test_loader:
    loader.update(num_workers=0, persistent_workers=False)

model = dict(
    backbone=dict(
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2, ),
        selfy=dict(
            extraction=dict(
                type='STSSConvExtraction', channels=(4, 16, 32, 32)),
            integration=dict(
                type='STSSConvIntegration', channels=(32, 32, 32, 32))),
        selfy_indices=(0, )),
    cls_head=dict(in_channels=256))
# The last checkpoint is tested: nothing is selected on the test clips. Two are
# kept, since MMEngine deletes before it saves.
default_hooks = dict(checkpoint=dict(save_best=None, max_keep_ckpts=2))
