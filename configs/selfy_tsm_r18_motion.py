# The quickstart: 90 % and more within minutes on two CPU cores.
_base_ = [
    '_base_/models/selfy_tsm_r18_2stages.py', '_base_/datasets/motion.py',
    '_base_/schedules/adamw_1e.py', '_base_/default_runtime.py'
]

_base_.train_cfg.max_epochs = _base_.param_scheduler[0].total_steps = 3
randomness = dict(seed=0)
