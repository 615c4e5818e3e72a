# The motion benchmark: one epoch from scratch, minutes on a CPU core.
_base_ = [
    '_base_/models/selfy_tsm_r18_2stages.py',
    '_base_/datasets/motion_bench.py', '_base_/schedules/adamw_1e.py',
    '_base_/default_runtime.py'
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

val_cfg = None
# The last epoch is tested: nothing is selected on the test clips.
default_hooks = dict(checkpoint=dict(save_best=None))

# The rate peaks sooner.
_base_.param_scheduler[0].pct_start = 0.15
randomness = dict(seed=0)
