_base_ = 'base.py'

from selfy_mmaction.datasets.recipes import use_folder

use_folder(_base_, '{{$RECORDINGS:data/recordings}}/avletters')

_base_.train_cfg.max_epochs = 18
