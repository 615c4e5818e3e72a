# Kinetics-400, a file CLASS/ID_000010_000020.mp4 per video. The lists are
# those of tools/data/prepare.py.
#
# The code of the paper samples frames of Kinetics, but has no script for it.
# Unless another source is named, a choice is that of the same authors' other
# code: MotionSqueeze, of the year before, in the same framework.
_base_ = 'videos.py'

from selfy_mmaction.datasets.recipes import find_step

data_root = 'data/k400'
# in alphabetical order
classes = '{{fileDirname}}/k400_classes.txt'

# The shorter side is resized to 256, the aspect ratio is kept. The crops are
# those of videos.py: multi-scale, resized to 224, in training; a centre crop
# of 224 in validation.
find_step(_base_.train_dataloader.dataset.pipeline, 'Resize').update(
    scale=(-1, 256), keep_ratio=True)
find_step(_base_.val_dataloader.dataset.pipeline, 'Resize').update(
    scale=(-1, 256), keep_ratio=True)
find_step(_base_.test_pipeline, 'Resize').update(
    scale=(-1, 256), keep_ratio=True)

# Official, too: evenly spaced frames from a window of 64, with a random start
# in training.
find_step(_base_.train_dataloader.dataset.pipeline,
          'SampleFrames').update(type='DenseSampleFrames')
# Ours: the first window of a video. Both codes draw one at random.
find_step(_base_.val_dataloader.dataset.pipeline, 'SampleFrames').update(
    type='DenseSampleFrames', num_sample_positions=1)

# 30 views per video, as in the paper: 10 evenly spaced windows times 3 crops
# of 256, unflipped: left, right and middle. Ours: top, bottom and middle of a
# portrait video, of which MotionSqueeze takes the middle three times.
find_step(_base_.test_pipeline, 'SampleFrames').update(
    type='DenseSampleFrames', num_sample_positions=10)
find_step(_base_.test_pipeline, 'CenterCrop').update(
    type='ThreeCrop', crop_size=256)

# Ours: the batch of 96 is split over 8 GPUs. Ours, too: all classes are
# flipped. MotionSqueeze spares the label numbers of the left/right classes of
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
