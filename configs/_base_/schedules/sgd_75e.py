# For Kinetics-400, for which the code of the paper has no training. Same
# authors' other code: all of this is from MotionSqueeze, of the year before.
# The rate is divided by 10 after epochs 30 and 60 of 75; no Nesterov momentum,
# no warm-up.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=75, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# No weight decay on BN and biases, biases at twice the rate (those of BN
# excepted). MotionSqueeze has 5 times the rate, and 10 times for its bias, for
# a linear classifier on Kinetics, but its classifier is a Conv1d, which gets
# the rates of other layers, as here. `fc_lr5=True` is 5 and 10 times.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TSMOptimWrapperConstructor',
    paramwise_cfg=dict(fc_lr5=False),
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=20))

param_scheduler = [
    # epochs 30 and 60 as shares of the training, for any max_epochs
    dict(type='RelativeMultiStepLR', milestones=[30 / 75, 60 / 75], gamma=0.1)
]

# lr=0.02 is for batches of 96 clips, on any number of GPUs. `--auto-scale-lr`
# scales it for other batch sizes.
auto_scale_lr = dict(enable=False, base_batch_size=96)
