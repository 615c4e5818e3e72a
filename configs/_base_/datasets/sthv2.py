# Something-Something V2 as shipped: a file ID.webm per video. The lists are
# those of tools/data/prepare.py, a line `file label` per video.
_base_ = 'something.py'

from selfy_mmaction.datasets.recipes import find_step

data_root = 'data/sthv2'

# The order of the labels, which is alphabetical, as in the data set's own
# something-something-v2-labels.json, in MMAction2 and in the official code.
classes = '{{fileDirname}}/sthv2_classes.txt'

find_step(_base_.train_dataloader.dataset.pipeline, 'Flip').classes = classes

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='sthv2_train_list_videos.txt',
        # kept in the checkpoints, for tools/predict.py
        metainfo=dict(classes=classes)))
val_dataloader = dict(
    dataset=dict(
        train_dataloader['dataset'], ann_file='sthv2_val_list_videos.txt'))
test_dataloader = val_dataloader
