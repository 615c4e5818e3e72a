# Official unless another source is named: ResNet-50 from ImageNet, shift in
# every residual block.
model = dict(
    type='Recognizer2D',
    backbone=dict(
        type='ResNetTSM',
        depth=50,
        pretrained='torchvision://resnet50',
        num_segments=8,
        shift_div=8,
        norm_eval=False),
    cls_head=dict(
        type='TSMHead',
        num_classes=174,
        in_channels=2048,
        num_segments=8,
        # Logits are averaged over the segments, before the softmax.
        consensus=dict(type='AvgConsensus', dim=1),
        dropout_ratio=0.5,
        # Xavier's sqrt(2 / (2048 + 174)). TSMHead draws from a normal, the
        # official code from a uniform distribution of this deviation.
        init_std=0.03,
        # Same authors' other code (MotionSqueeze), and TSM's: the logits of
        # the views of a video are averaged, before the softmax. A test returns
        # these logits.
        average_clips='score'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCHW'))
