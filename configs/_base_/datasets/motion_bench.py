# The motion benchmark, rendered by
# projects/motion/make_motion.py --kind benchmark. All of it is ours.
data_root = 'data/motion_bench'
# A clip has 8 frames, and all are used. A flip would change the class.
test_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=8,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(128, 24), keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs')
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='VideoDataset',
        data_root=data_root,
        ann_file='train.txt',
        data_prefix=dict(video='videos'),
        metainfo=dict(classes=f'{data_root}/classes.txt'),
        pipeline=test_pipeline))
# the clips of all splits
test_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        train_dataloader['dataset'], ann_file='val.txt', test_mode=True))
test_evaluator = dict(type='AccMetric')
