# Something-Something V1 as it ships: a folder of frames 00001.jpg, 00002.jpg,
# ... per video. The lists are those of MMAction2's tools/data/sthv1, a line
# `folder frames label` per video.
data_root = 'data/sthv1'

# The order of the labels: a class a line, as in the data set's own
# something-something-v1-labels.csv, which MMAction2 follows. The official
# SELFYNet code (its lists and its checkpoints) numbers the same names in
# alphabetical order: for these use `LC_ALL=C sort` of this file.
classes = '{{fileDirname}}/sthv1_classes.txt'

# A flip would turn these into their opposites.
left_right_classes = [
    'Pulling something from left to right',
    'Pulling something from right to left',
    'Pushing something from left to right',
    'Pushing something from right to left',
    'Turning the camera left while filming something',
    'Turning the camera right while filming something'
]

# The official recipe, in MMAction2's transforms, which differ in two details.
# SampleFrames spreads the segments over a video of fewer frames (SSV1 has 15
# at least), where the official code repeats the first one. Images are resized
# by OpenCV instead of PIL.
test_pipeline = [
    # the middle frame of each of the 8 segments
    dict(
        type='SampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=8,
        test_mode=True),
    dict(type='RawFrameDecode'),
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
        type='RawframeDataset',
        data_root=data_root,
        ann_file='sthv1_train_list_rawframes.txt',
        data_prefix=dict(img='rawframes'),
        filename_tmpl='{:05}.jpg',
        # kept in the checkpoints, for tools/predict.py
        metainfo=dict(classes=classes),
        pipeline=[
            # a random frame of each segment
            dict(
                type='SampleFrames', clip_len=1, frame_interval=1,
                num_clips=8),
            dict(type='RawFrameDecode'),
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
        type='RawframeDataset',
        data_root=data_root,
        ann_file='sthv1_val_list_rawframes.txt',
        data_prefix=dict(img='rawframes'),
        filename_tmpl='{:05}.jpg',
        metainfo=dict(classes=classes),
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

# Gathered over the network: nodes need not share a folder.
val_evaluator = dict(type='AccMetric', collect_device='gpu')
test_evaluator = val_evaluator
