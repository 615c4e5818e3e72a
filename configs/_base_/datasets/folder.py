# Your own videos, as `tools/data/prepare.py folder` lists them: a config calls
# use_folder, which says where they are. The recipe is that of videos.py; what
# differs is ours.
_base_ = 'videos.py'

# A tab: the names of folders may have spaces.
dataset = dict(data_prefix=dict(video=''), delimiter='\t')
# On few clips, the incomplete batch counts, too.
train_dataloader = dict(
    num_workers=4,
    drop_last=False,
    dataset=dict(dataset, ann_file='folder_train_list_videos.txt'))
val_dataloader = dict(
    num_workers=4,
    dataset=dict(dataset, ann_file='folder_val_list_videos.txt'))
test_dataloader = val_dataloader
