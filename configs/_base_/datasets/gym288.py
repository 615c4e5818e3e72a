# FineGym's Gym288: the same videos and recipe as Gym99, more elements.
_base_ = 'gym99.py'

# The names are from FineGym's own gym288_categories.txt, from which
# tools/data/prepare.py writes this file.
classes = 'data/gym/gym288_classes.txt'

train_dataloader = dict(
    dataset=dict(
        ann_file='gym288_train_list_videos.txt',
        metainfo=dict(classes=classes)))
val_dataloader = dict(
    dataset=dict(
        train_dataloader['dataset'], ann_file='gym288_val_list_videos.txt'))
test_dataloader = val_dataloader
