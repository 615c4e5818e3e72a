# VideoMAE's fine-tuning and its test, in MMAction2's transforms, for the
# configs of data sets. Training leaves out RandAugment, for which MMAction2
# needs pytorchvideo: after VideoDecode,
# dict(type='PytorchVideoWrapper', op='RandAugment', magnitude=7, num_layers=4)
videomae_train = [
    dict(type='VideoInit'),
    # a random frame of each of 16 segments
    dict(type='UniformSample', clip_len=16),
    dict(type='VideoDecode'),
    # 0.08 to 1 of the area, 3 : 4 to 4 : 3
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='RandomErasing', erase_prob=0.25, mode='rand'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
videomae_val = [
    dict(type='VideoInit'),
    dict(type='UniformSample', clip_len=16, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
# Two clips x three crops. VideoMAE's clips are the middle and the first frames
# of the segments; MMAction2 takes those at 1/3 and 2/3.
videomae_test = [
    dict(type='VideoInit'),
    dict(type='UniformSample', clip_len=16, num_clips=2, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='ThreeCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')
]
