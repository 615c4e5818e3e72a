# Something-Something V1 as shipped: a folder of frames 00001.jpg, 00002.jpg,
# ... per video. The lists are those of MMAction2's tools/data/sthv1, a line
# `folder frames label` per video.
_base_ = 'something.py'

from selfy_mmaction.datasets.recipes import find_step, use_rawframes

data_root = 'data/sthv1'

# The order of the labels: one class per line, as in the data set's own
# something-something-v1-labels.csv, which MMAction2 follows. The official
# SELFYNet code (its lists and its checkpoints) numbers the same names in
# alphabetical order: for these use `LC_ALL=C sort` of this file.
classes = '{{fileDirname}}/sthv1_classes.txt'

use_rawframes(_base_, filename_tmpl='{:05}.jpg')
find_step(_base_.train_dataloader.dataset.pipeline, 'Flip').classes = classes

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='sthv1_train_list_rawframes.txt',
        # kept in the checkpoints, for tools/predict.py
        metainfo=dict(classes=classes)))
val_dataloader = dict(
    dataset=dict(
        train_dataloader['dataset'], ann_file='sthv1_val_list_rawframes.txt'))
test_dataloader = val_dataloader
