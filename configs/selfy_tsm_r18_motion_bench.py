# The motion benchmark: one epoch from scratch, minutes on a CPU core.
_base_ = [
    '_base_/models/selfy_tsm_r18_2stages.py',
    '_base_/datasets/motion_bench.py', '_base_/default_runtime.py'
]

# Frames are compared in cells of 8 pixels, the stride of the stem and the
# first stage (4) times that of the block (2). The window reaches 3 frames and
# 6 cells along the motion, the largest displacement.
model = dict(
    backbone=dict(
        selfy=dict(
            window=(7, 3, 13),
            extraction=dict(
                type='STSSConvExtraction', channels=(4, 16, 32, 32)),
            integration=dict(
                type='STSSConvIntegration', channels=(32, 32, 32, 32))),
        selfy_indices=(0, )),
    cls_head=dict(num_classes=6))

epochs = 1
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
val_cfg = None
test_cfg = dict(type='TestLoop')
# The last epoch is tested: nothing is selected on the test clips.
default_hooks = dict(checkpoint=dict(save_best=None))

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=20))
# The rate rises for a while and falls to zero, batch by batch.
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=1e-3,
        total_steps=epochs,
        pct_start=0.15,
        convert_to_iter_based=True)
]
randomness = dict(seed=0)
