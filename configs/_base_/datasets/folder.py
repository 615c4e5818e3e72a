# Your own videos, listed by `tools/data/prepare.py folder`: a config calls
# use_folder, which sets their folder. The recipe is that of videos.py; the
# differences are ours, with the batch of 8 on one GPU.
_base_ = 'videos.py'

import os

num_workers = min(4, os.cpu_count())

# A tab: folder names may have spaces.
dataset = dict(data_prefix=dict(video=''), delimiter='\t')
# With few clips, the incomplete batch is needed, too.
train_dataloader = dict(
    num_workers=num_workers,
    drop_last=False,
    dataset=dict(dataset, ann_file='folder_train_list_videos.txt'))
val_dataloader = dict(
    num_workers=num_workers,
    dataset=dict(dataset, ann_file='folder_val_list_videos.txt'))
test_dataloader = val_dataloader
