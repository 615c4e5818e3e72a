# Official, for Something-Something: SGD with Nesterov momentum, the rate
# divided by 10 after epochs 30 and 40 of 50, no warm-up.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Without `fc_lr5` this constructor is the official parameter groups: no weight
# decay on BN and biases, biases at twice the rate (those of BN excepted).
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TSMOptimWrapperConstructor',
    paramwise_cfg=dict(fc_lr5=False),
    optimizer=dict(
        type='SGD', lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4),
    clip_grad=dict(max_norm=20))

param_scheduler = [
    # epochs 30 and 40 as shares of the training, for any max_epochs
    dict(type='RelativeMultiStepLR', milestones=[30 / 50, 40 / 50], gamma=0.1)
]

# lr=0.01 is for batches of 64 clips, on any number of GPUs. `--auto-scale-lr`
# scales it for other batch sizes.
auto_scale_lr = dict(enable=False, base_batch_size=64)
