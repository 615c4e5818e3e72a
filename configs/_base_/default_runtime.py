# MMEngine's defaults, with hooks and numbers of ours: they affect what is kept
# of a training, not its weights.
custom_imports = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
default_scope = 'mmaction'

default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Written atomically. Three are kept, in case the training diverges.
    checkpoint=dict(
        type='CheckpointHook',
        interval=1,
        max_keep_ckpts=3,
        save_best='auto',
        backend_args=dict(backend='atomic')),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
    # Training skips clips that cannot be read, up to this share of them.
    bad_clips=dict(type='BadClipsHook', max_share=0.05),
    exact_resume=dict(type='ExactResumeHook'),
    # Training starts and resumes only from weights that fit.
    check_weights=dict(type='CheckWeightsHook'),
    # The rates are those of the config, also when it is resumed with another.
    schedule=dict(type='ScheduleHook'))

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Without a GPU the tools use gloo instead.
    dist_cfg=dict(backend='nccl'))

log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='ActionVisualizer', vis_backends=vis_backends)

log_level = 'INFO'
load_from = None
resume = False
