# Kinetics-400, a file CLASS/ID_000010_000020.mp4 per video. The lists are
# those of tools/data/prepare.py.
_base_ = 'videos.py'

from selfy_mmaction.datasets.pipelines import find_step

data_root = 'data/k400'
# in alphabetical order
classes = '{{fileDirname}}/k400_classes.txt'

# Dense sampling as in the official code: frames at equal distances from a
# window of 64, which starts at random in training.
find_step(_base_.train_dataloader.dataset.pipeline, 'SampleFrames').update(
    type='DenseSampleFrames')
# Ours: the first window of a video. The official code draws one at random.
find_step(_base_.val_dataloader.dataset.pipeline, 'SampleFrames').update(
    type='DenseSampleFrames', num_sample_positions=1)

# 30 views per video, as in the paper: 10 windows, which start at equal
# distances as in the official code, times 3 crops. Ours: the crops are as
# high as the resized frame.
find_step(_base_.test_pipeline, 'SampleFrames').update(
    type='DenseSampleFrames', num_sample_positions=10)
find_step(_base_.test_pipeline, 'CenterCrop').update(
    type='ThreeCrop', crop_size=240)

train_dataloader = dict(
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
