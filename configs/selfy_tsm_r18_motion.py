# The quickstart: 90 % and more within minutes on two CPU cores.
_base_ = [
    '_base_/models/selfy_tsm_r18_2stages.py', '_base_/datasets/motion.py',
    '_base_/schedules/adamw_1e.py', '_base_/default_runtime.py'
]

train_cfg = dict(max_epochs=3)
randomness = dict(seed=0)
