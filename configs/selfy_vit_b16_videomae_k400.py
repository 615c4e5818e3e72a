_base_ = [
    '_base_/models/selfy_vit_b16.py', '_base_/datasets/k400.py',
    '_base_/datasets/videomae_pipelines.py',
    '_base_/schedules/videomae_50e.py', '_base_/default_runtime.py'
]

from selfy_mmaction.datasets.recipes import find_step

model = dict(cls_head=dict(num_classes=400))
_base_.model.data_preprocessor.blending.augments[0].num_classes = 400
_base_.model.data_preprocessor.blending.augments[1].num_classes = 400

# Ours: MMAction2's VideoMAE network, which has been trained on Kinetics-400
# already, where VideoMAE's own fine-tuning begins with a pre-trained one.
# Before the first step the scores are exactly those of that network.
load_from = (
    'https://download.openmmlab.com/mmaction/v1.0/recognition/videomae/'
    'vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3.pth')

# Every fourth frame of a window, as in VideoMAE; in testing 5 windows x 3
# crops, as in MMAction2's VideoMAE config.
find_step(_base_.videomae_train, 'Sample').update(
    type='SampleFrames', frame_interval=4)
find_step(_base_.videomae_val, 'Sample').update(
    type='SampleFrames', frame_interval=4)
find_step(_base_.videomae_test, 'Sample').update(
    type='SampleFrames', frame_interval=4, num_clips=5)

test_pipeline = _base_.videomae_test
# Ours: batches of 64, for which the rate below is scaled.
train_dataloader = dict(
    batch_size=8, dataset=dict(pipeline=_base_.videomae_train))
val_dataloader = dict(dataset=dict(pipeline=_base_.videomae_val))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

# VideoMAE's fine-tuning on Kinetics-400: twice the rate and the epochs. Its
# base rate is 1e-3, for batches of 256.
train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=1e-3 * 64 / 256))
_base_.param_scheduler[1].eta_min_ratio = 1e-6 / 1e-3
