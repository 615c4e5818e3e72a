_base_ = 'tsm_r50_sthv1.py'

model = dict(backbone=dict(num_segments=16), cls_head=dict(num_segments=16))
_base_.train_dataloader.dataset.pipeline[0].num_clips = 16
_base_.val_dataloader.dataset.pipeline[0].num_clips = 16
_base_.test_dataloader.dataset.pipeline[0].num_clips = 16
_base_.test_pipeline[0].num_clips = 16
