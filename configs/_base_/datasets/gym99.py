# FineGym's Gym99, a file VIDEO_E_START_END_A_START_END.mp4 per element, which
# MMAction2's tools/data/gym/trim_event.py and trim_subaction.py cut from the
# videos. The lists are those of tools/data/prepare.py: of FineGym v1.1 by
# default, as in the same authors' later code (CorrelationSideTuning). Ours:
# the recipe of Something-Something.
_base_ = 'videos.py'

data_root = 'data/gym'
# in the order of FineGym's own gym99_categories.txt
classes = '{{fileDirname}}/gym99_classes.txt'

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='gym99_train_list_videos.txt',
        data_prefix=dict(video='subactions'),
        metainfo=dict(classes=classes)))
val_dataloader = dict(
    dataset=dict(
        train_dataloader['dataset'], ann_file='gym99_val_list_videos.txt'))
test_dataloader = val_dataloader

# The first metric selects the best checkpoint.
val_evaluator = dict(metric_list=('mean_class_accuracy', 'top_k_accuracy'))
test_evaluator = val_evaluator
