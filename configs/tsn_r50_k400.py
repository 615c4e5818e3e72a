_base_ = [
    '_base_/models/tsn_r50.py', '_base_/datasets/k400.py',
    '_base_/schedules/sgd_75e.py', '_base_/default_runtime.py'
]

# The 30 views of a video are tested 10 at a time, to bound the memory.
model = dict(
    type='BoundedViewsRecognizer2D',
    max_testing_views=10,
    cls_head=dict(num_classes=400))
