# Ours, for small videos, from scratch: the stem and the first two stages of
# ResNet-18, shift in every residual block, SELFY with half the channels and
# the official window after the second stage.
model = dict(
    type='Recognizer2D',
    backbone=dict(
        type='ResNetSELFY',
        depth=18,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(1, ),
        num_segments=8,
        shift_div=8,
        selfy=dict(type='SELFYBlock', mid_channels=64, window=(5, 9, 9)),
        selfy_indices=(1, )),
    cls_head=dict(
        type='TSMHead',
        num_classes=8,
        in_channels=128,
        num_segments=8,
        consensus=dict(type='AvgConsensus', dim=1),
        dropout_ratio=0.2,
        init_std=0.01,
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCHW'))
