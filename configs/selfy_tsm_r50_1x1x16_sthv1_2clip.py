_base_ = 'selfy_tsm_r50_1x1x16_sthv1.py'

from selfy_mmaction.datasets.recipes import find_step

# The best rows of the paper average two clips of a video. The official code
# tests one: the middle frames of the segments. The second is that of TSM's
# test code, its `twice_sample`: their first frames.
find_step(_base_.test_pipeline, 'SampleFrames').twice_sample = True
test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
