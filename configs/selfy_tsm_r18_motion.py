# The quickstart: 90 % and more within minutes on two CPU cores.
_base_ = [
    '_base_/models/selfy_tsm_r18_2stages.py', '_base_/datasets/motion.py',
    '_base_/default_runtime.py'
]

epochs = 3
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=20))
# The rate rises for the first third and falls to zero, batch by batch.
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=1e-3,
        total_steps=epochs,
        pct_start=0.3,
        convert_to_iter_based=True)
]
randomness = dict(seed=0)
