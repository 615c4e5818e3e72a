_base_ = 'base.py'

from selfy_mmaction.datasets.recipes import find_step, use_folder

use_folder(_base_, '{{$RECORDINGS:data/recordings}}/msr_action3d')
# The people use the right arm or leg, and a mirrored tick is none.
find_step(_base_.train_dataloader.dataset.pipeline, 'Flip').flip_ratio = 0

_base_.train_cfg.max_epochs = 18
