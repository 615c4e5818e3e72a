_base_ = 'selfy_tsm_r50.py'

# Only the block models motion.
model = dict(backbone=dict(is_shift=False), cls_head=dict(is_shift=False))
