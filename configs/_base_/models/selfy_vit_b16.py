# MMAction2's VideoMAE network, ViT-B with patches of 16 x 16 pixels and two
# frames, and ours: one block, with the official window, after half of the
# layers.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ViTSELFY',
        img_size=224,
        patch_size=16,
        embed_dims=768,
        depth=12,
        num_heads=12,
        mlp_ratio=4,
        qkv_bias=True,
        num_frames=16,
        norm_cfg=dict(type='LN', eps=1e-6),
        # VideoMAE's fine-tuning
        drop_path_rate=0.1,
        selfy=dict(type='SELFYBlock', mid_channels=128, window=(5, 9, 9)),
        selfy_indices=(5, )),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=174,
        in_channels=768,
        # VideoMAE's fine-tuning: 0.02 times an init_scale of 0.001
        init_std=2e-5,
        label_smooth_eps=0.1,
        # MMAction2's VideoMAE config
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        # VideoMAE's fine-tuning: one of the two for each batch
        blending=dict(
            type='RandomBatchAugment',
            augments=[
                dict(type='MixupBlending', alpha=0.8, num_classes=174),
                dict(type='CutmixBlending', alpha=1.0, num_classes=174)
            ]),
        format_shape='NCTHW'))
