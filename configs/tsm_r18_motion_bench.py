_base_ = 'selfy_tsm_r18_motion_bench.py'

model = dict(backbone=dict(selfy_indices=()))
