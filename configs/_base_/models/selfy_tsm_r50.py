_base_ = 'tsm_r50.py'

# The official recipe: one block with window (L, U, V) after res3, the second
# stage, on 128 channels.
model = dict(
    backbone=dict(
        type='ResNetSELFY',
        selfy=dict(type='SELFYBlock', mid_channels=128, window=(5, 9, 9)),
        selfy_indices=(1, )))
