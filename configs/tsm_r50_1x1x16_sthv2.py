_base_ = 'tsm_r50_sthv2.py'

from selfy_mmaction.datasets.recipes import use_frames

# The baseline of the SELFYNet of 16 frames.
use_frames(_base_, 16)
