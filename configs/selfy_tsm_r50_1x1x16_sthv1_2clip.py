_base_ = 'selfy_tsm_r50_1x1x16_sthv1.py'

# The best rows of the paper average two clips of a video: the middle frames of
# the segments, and their first frames.
_base_.test_dataloader.dataset.pipeline[0].twice_sample = True
_base_.test_pipeline[0].twice_sample = True
