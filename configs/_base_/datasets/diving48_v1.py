# Diving-48 with the labels of V1, those of the accuracy in the paper.
_base_ = 'diving48.py'

train_dataloader = dict(
    dataset=dict(ann_file='diving48_v1_train_list_videos.txt'))
val_dataloader = dict(dataset=dict(ann_file='diving48_v1_val_list_videos.txt'))
test_dataloader = val_dataloader
