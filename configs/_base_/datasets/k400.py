# Kinetics-400, a file CLASS/ID_000010_000020.mp4 per video. The lists are
# those of tools/data/prepare.py.
#
# The code of the paper samples frames of Kinetics, but has no script for it.
# Where no other source is named, a choice is that of the same authors' other
# code: MotionSqueeze, of the year before, in the same framework.
_base_ = 'videos.py'

from selfy_mmaction.datasets.pipelines import find_step

data_root = 'data/k400'
# in alphabetical order
classes = '{{fileDirname}}/k400_classes.txt'

# The shorter side becomes 256, the aspect ratio stays. The crops are those of
# videos.py: of many sizes, resized to 224, in training; 224 in the middle in
# validation.
find_step(_base_.train_dataloader.dataset.pipeline, 'Resize').update(
    scale=(-1, 256), keep_ratio=True)
find_step(_base_.val_dataloader.dataset.pipeline, 'Resize').update(
    scale=(-1, 256), keep_ratio=True)
find_step(_base_.test_pipeline, 'Resize').update(
    scale=(-1, 256), keep_ratio=True)

# Official, too: frames at equal distances from a window of 64, which starts at
# random in training.
find_step(_base_.train_dataloader.dataset.pipeline, 'SampleFrames').update(
    type='DenseSampleFrames')
# Ours: the first window of a video. Both codes draw one at random.
find_step(_base_.val_dataloader.dataset.pipeline, 'SampleFrames').update(
    type='DenseSampleFrames', num_sample_positions=1)

# 30 views per video, as in the paper: 10 windows, which start at equal
# distances, times 3 crops of 256, unflipped: left, right and middle. Ours:
# top, bottom and middle of an upright video, of which MotionSqueeze takes the
# middle three times.
find_step(_base_.test_pipeline, 'SampleFrames').update(
    type='DenseSampleFrames', num_sample_positions=10)
find_step(_base_.test_pipeline, 'CenterCrop').update(
    type='ThreeCrop', crop_size=256)

# Ours: to share the batch of 96 among 8 GPUs. Ours, too: to flip all classes.
# MotionSqueeze spares the numbers that are left and right in
# Something-Something.
train_dataloader = dict(
    batch_size=12,
    dataset=dict(
        data_root=data_root,
        ann_file='k400_train_list_videos.txt',
        data_prefix=dict(video='videos_train'),
        metainfo=dict(classes=classes)))
val_dataloader = dict(
    dataset=dict(
        train_dataloader['dataset'],
        ann_file='k400_val_list_videos.txt',
        data_prefix=dict(video='videos_val')))
test_dataloader = dict(
    batch_size=1,
    dataset=dict(val_dataloader['dataset'], pipeline=_base_.test_pipeline))
