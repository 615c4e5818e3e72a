# VideoMAE's fine-tuning on Something-Something V2: AdamW, five epochs of
# warm-up and a cosine, layer-wise learning rate decay, no gradient clipping.
# MMAction2 has no training of VideoMAE for recognition; its detection on AVA
# has the same decay_rate and weight_decay.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# VideoMAE's base rate of 5e-4 is for batches of 256 clips; ours have 64, as in
# the other configs: 8 GPUs x 8 clips. VideoMAE's have 512, on 64 GPUs.
# `--auto-scale-lr` scales the rate.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SELFYLayerDecayConstructor',
    paramwise_cfg=dict(decay_rate=0.75),
    optimizer=dict(
        type='AdamW',
        lr=5e-4 * 64 / 256,
        betas=(0.9, 0.999),
        weight_decay=0.05))
auto_scale_lr = dict(enable=False, base_batch_size=64)

param_scheduler = [
    # VideoMAE's starts at zero, which MMEngine does not allow.
    dict(
        type='LinearLR',
        start_factor=1e-3,
        begin=0,
        end=5,
        convert_to_iter_based=True),
    # To the end of the training, and to VideoMAE's min_lr of 1e-6, in terms of
    # the base rate.
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / 5e-4,
        begin=5,
        convert_to_iter_based=True)
]
