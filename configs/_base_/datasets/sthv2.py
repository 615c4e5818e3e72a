# Something-Something V2 as it ships: a file ID.webm per video. The lists are
# those of tools/data/prepare.py, a line `file label` per video.
data_root = 'data/sthv2'

# The order of the labels, which is alphabetical, as in the data set's own
# something-something-v2-labels.json, in MMAction2 and in the official code.
classes = '{{fileDirname}}/sthv2_classes.txt'

# A flip would turn these into their opposites.
left_right_classes = [
    'Pulling something from left to right',
    'Pulling something from right to left',
    'Pushing something from left to right',
    'Pushing something from right to left',
    'Turning the camera left while filming something',
    'Turning the camera right while filming something'
]

# The official recipe, for training and testing; see sthv1.py. What is ours is
# to read videos: the official code reads frames extracted from them.
test_pipeline = [
    dict(type='DecordInit'),
    # the middle frame of each of the 8 segments
    dict(
        type='SampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=8,
        test_mode=True),
    dict(type='DecordDecode'),
    # width x height
    dict(type='Resize', scale=(320, 240), keep_ratio=False),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs')
]

# The official batch of 64 is 8 GPUs x 8 clips; the last incomplete one is
# dropped. The workers are ours.
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='VideoDataset',
        data_root=data_root,
        ann_file='sthv2_train_list_videos.txt',
        data_prefix=dict(video='videos'),
        # kept in the checkpoints, for tools/predict.py
        metainfo=dict(classes=classes),
        pipeline=[
            dict(type='DecordInit'),
            # a random frame of each segment
            dict(
                type='SampleFrames', clip_len=1, frame_interval=1,
                num_clips=8),
            dict(type='DecordDecode'),
            dict(type='Resize', scale=(320, 240), keep_ratio=False),
            dict(
                type='MultiScaleCrop',
                input_size=224,
                scales=(1, 0.875, 0.75, 0.66),
                max_wh_scale_gap=1,
                num_fixed_crops=13),
            dict(type='Resize', scale=(224, 224), keep_ratio=False),
            dict(
                type='SelectiveFlip',
                flip_ratio=0.5,
                classes=classes,
                frozen_classes=left_right_classes),
            dict(type='FormatShape', input_format='NCHW'),
            dict(type='PackActionInputs')
        ]))
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VideoDataset',
        data_root=data_root,
        ann_file='sthv2_val_list_videos.txt',
        data_prefix=dict(video='videos'),
        metainfo=dict(classes=classes),
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

# Gathered over the network: nodes need not share a folder.
val_evaluator = dict(type='AccMetric', collect_device='gpu')
test_evaluator = val_evaluator
