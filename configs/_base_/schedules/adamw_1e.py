# Ours, for small networks on a CPU. The schedule is as long as the training:
# train_cfg = dict(max_epochs=3) is all it takes.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
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
        pct_start=0.3,
        convert_to_iter_based=True)
]
