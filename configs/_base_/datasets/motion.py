# The synthetic motion clips of the quickstart: small mp4 files, rendered by
# projects/motion/make_motion.py. All of it is ours; frames are sampled as the
# official code does.
data_root = 'data/motion'
test_pipeline = [
    dict(type='VideoInit'),
    # the middle frame of each of the 8 segments
    dict(
        type='SampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=8,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(64, 64), keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs')
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='VideoDataset',
        data_root=data_root,
        ann_file='train.txt',
        data_prefix=dict(video='videos'),
        # kept in the checkpoints, for tools/predict.py
        metainfo=dict(classes=f'{data_root}/classes.txt'),
        # A flip would turn a class into its opposite.
        pipeline=[
            dict(type='VideoInit'),
            # a random frame of each segment
            dict(
                type='SampleFrames', clip_len=1, frame_interval=1,
                num_clips=8),
            dict(type='VideoDecode'),
            dict(type='Resize', scale=(64, 64), keep_ratio=False),
            dict(type='FormatShape', input_format='NCHW'),
            dict(type='PackActionInputs')
        ]))
val_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        train_dataloader['dataset'],
        ann_file='val.txt',
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
