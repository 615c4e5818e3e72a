# Diving-48, a file ID.mp4 per dive, with the labels of V2, which corrects V1.
# The lists are those of tools/data/prepare.py. Ours: the recipe of
# Something-Something.
_base_ = 'videos.py'

data_root = 'data/diving48'
# in the order of the data set's own Diving48_vocab.json
classes = '{{fileDirname}}/diving48_classes.txt'

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='diving48_train_list_videos.txt',
        metainfo=dict(classes=classes)))
val_dataloader = dict(
    dataset=dict(
        train_dataloader['dataset'], ann_file='diving48_val_list_videos.txt'))
test_dataloader = val_dataloader
