_base_ = [
    '_base_/models/tsn_r50.py', '_base_/datasets/k400.py',
    '_base_/schedules/sgd_50e.py', '_base_/default_runtime.py'
]

# Ours: the schedule of Something-Something. 30 views are tested per video, 10
# at a time.
model = dict(
    type='BoundedViewsRecognizer2D',
    max_testing_views=10,
    cls_head=dict(num_classes=400))
