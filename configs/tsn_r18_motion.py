# The same network and budget, without the parts that see the order of frames.
_base_ = 'selfy_tsm_r18_motion.py'

model = dict(backbone=dict(is_shift=False, selfy_indices=()))
