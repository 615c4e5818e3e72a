_base_ = 'selfy_tsm_r50_sthv2.py'

# The best rows of the paper average two clips of a video: the middle frames of
# the segments, and their first frames.
_base_.test_dataloader.dataset.pipeline[1].twice_sample = True
_base_.test_pipeline[1].twice_sample = True
