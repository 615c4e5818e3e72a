_base_ = 'selfy_tsm_r50_sthv2.py'

from selfy_mmaction.datasets.recipes import use_frames

# 16 frames, as in the paper.
use_frames(_base_, 16)
