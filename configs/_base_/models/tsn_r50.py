_base_ = 'tsm_r50.py'

# As tsm_r50.py, without the shift: frames are combined only in the average of
# their logits.
model = dict(backbone=dict(is_shift=False), cls_head=dict(is_shift=False))
