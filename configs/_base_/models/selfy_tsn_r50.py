_base_ = 'selfy_tsm_r50.py'

# The block is all that sees motion.
model = dict(backbone=dict(is_shift=False), cls_head=dict(is_shift=False))
