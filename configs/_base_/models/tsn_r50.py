_base_ = 'tsm_r50.py'

# Frames meet in the average of their logits only.
model = dict(backbone=dict(is_shift=False), cls_head=dict(is_shift=False))
