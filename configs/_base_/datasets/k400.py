# Kinetics-400, a file CLASS/ID_000010_000020.mp4 per video. The lists are
# those of tools/data/prepare.py.
_base_ = 'videos.py'

data_root = 'data/k400'
# in alphabetical order
classes = '{{fileDirname}}/k400_classes.txt'

# Dense sampling as in the official code: frames at equal distances from a
# window of 64, which starts at random in training.
_base_.train_dataloader.dataset.pipeline[1].type = 'DenseSampleFrames'
# Ours: the first window of a video. The official code draws one at random.
_base_.val_dataloader.dataset.pipeline[1].update(
    type='DenseSampleFrames', num_sample_positions=1)

# 30 views per video, as in the paper: 10 windows, which start at equal
# distances as in the official code, times 3 crops. Ours: the crops are as
# high as the resized frame.
test_pipeline = [
    dict(type='DecordInit'),
    dict(
        type='DenseSampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=8,
        num_sample_positions=10,
        test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(320, 240), keep_ratio=False),
    dict(type='ThreeCrop', crop_size=240),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs')
]

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='k400_train_list_videos.txt',
        data_prefix=dict(video='videos_train'),
        metainfo=dict(classes=classes)))
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='k400_val_list_videos.txt',
        data_prefix=dict(video='videos_val'),
        metainfo=dict(classes=classes)))
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        data_root=data_root,
        ann_file='k400_val_list_videos.txt',
        data_prefix=dict(video='videos_val'),
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))
