_base_ = 'selfy_tsm_r50_k400.py'

model = dict(backbone=dict(num_segments=16), cls_head=dict(num_segments=16))
_base_.train_dataloader.dataset.pipeline[1].num_clips = 16
_base_.val_dataloader.dataset.pipeline[1].num_clips = 16
_base_.test_dataloader.dataset.pipeline[1].num_clips = 16
_base_.test_pipeline[1].num_clips = 16
