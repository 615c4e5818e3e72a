"""Pipelines of configs: found and changed by the types of their steps."""
import pytest
from mmaction.datasets.transforms import SampleFrames
from mmengine.config import Config, ConfigDict

from selfy_mmaction.datasets.recipes import (
    find_step,
    frame_size,
    stage_datasets,
    stage_pipeline,
    use_frames,
    use_rawframes,
    use_size,
    use_videos,
)

# Videos, frames, dense sampling, no validation; data without a model, and the
# recipe without data.
CONFIGS = [
    'selfy_tsm_r50_sthv2', 'tsm_r50_sthv1', 'selfy_tsm_r50_k400',
    'selfy_tsm_r18_motion_bench', '_base_/datasets/diving48',
    '_base_/datasets/videos'
]


@pytest.fixture
def load(repo):
    return lambda name: Config.fromfile(repo / f'configs/{name}.py')


def list_pipelines(cfg):
    splits = (
        cfg.get(f'{split}_dataloader') for split in ('train', 'val', 'test'))
    return [loader.dataset.pipeline
            for loader in splits if loader] + [cfg.test_pipeline]


def test_a_step_is_found_by_the_end_of_its_type():
    pipeline = [
        dict(type='DecordInit'),
        dict(type='DenseSampleFrames', num_clips=8),
        dict(type=SampleFrames)
    ]
    assert find_step(pipeline, 'SampleFrames') is pipeline[1]
    # A type can be the class itself.
    assert find_step(pipeline[2:], 'SampleFrames') is pipeline[2]
    with pytest.raises(ValueError, match='Flip .*: DecordInit, DenseSample'):
        find_step(pipeline, 'Flip')


def test_data_sets_are_found_in_wrappers():
    parts = [dict(pipeline=[dict(type=kind)]) for kind in 'aab']
    wrapped = dict(
        type='ConcatDataset',
        datasets=[dict(type='RepeatDataset', dataset=parts[0]), *parts[1:]])
    cfg = ConfigDict(
        test_dataloader=dict(dataset=wrapped),
        val_dataloader=dict(dataset=parts[0]))
    assert stage_datasets(cfg, 'test') == parts
    assert stage_pipeline(cfg, 'val') == parts[0]['pipeline']
    assert stage_datasets(cfg, 'train') == []
    for stage, fault in ('test', 'several pipelines'), ('train', 'nothing'):
        with pytest.raises(ValueError, match=f'has {fault} for {stage}'):
            stage_pipeline(cfg, stage)


@pytest.mark.parametrize('name', CONFIGS)
def test_all_pipelines_and_the_model_take_the_frames(load, name):
    cfg, original = load(name), load(name)
    use_frames(cfg, 12)
    for pipeline in list_pipelines(cfg):
        step = find_step(pipeline, 'SampleFrames')
        assert step.num_clips == 12
        step.num_clips = 8
    if 'model' in cfg:
        for part in cfg.model.backbone, cfg.model.cls_head:
            assert part.num_segments == 12
            part.num_segments = 8
    # Everything else is unchanged.
    assert cfg.to_dict() == original.to_dict()


@pytest.mark.parametrize('name', CONFIGS)
def test_storages_turn_into_each_other(load, name):
    cfg, original = load(name), load(name)
    turns = [use_rawframes, use_videos]
    decoders = ['RawFrameDecode', 'VideoDecode']
    if cfg.train_dataloader.dataset.type == 'RawframeDataset':
        tmpl = cfg.train_dataloader.dataset.filename_tmpl
        turns = [use_videos, lambda cfg: use_rawframes(cfg, tmpl)]
        decoders.reverse()
    for turn, decoder, other in zip(
            turns, decoders, decoders[::-1], strict=True):
        turn(cfg)
        for pipeline in list_pipelines(cfg):
            types = [step['type'] for step in pipeline]
            assert decoder in types and other not in types
    assert cfg.to_dict() == original.to_dict()


@pytest.mark.parametrize(('name', 'turn', 'step'), [
    ('tsm_r50_sthv1', use_rawframes, 'Init'),
    ('tsm_r50_sthv2', use_videos, 'RawFrameDecode'),
])
def test_a_storage_is_not_turned_into_itself(load, name, turn, step):
    cfg = load(name)
    with pytest.raises(ValueError, match=f"no step's type ends with {step} "):
        turn(cfg)
    assert cfg.to_dict() == load(name).to_dict()


@pytest.mark.parametrize(
    ('steps', 'size'),
    [
        ([dict(scale=(320, 240), keep_ratio=False)], (240, 320)),
        ([dict(scale=(320, 240), keep_ratio=False),
          dict(crop_size=224)], (224, 224)),
        ([
            dict(scale=(-1, 256)),
            dict(crop_size=(96, 64)),
            dict(flip_ratio=0.5)
        ], (64, 96)),
        ([dict(scale=(-1, 256)), dict(size=112)], (112, 112)),
        # A crop of many sizes, which a resizing ends.
        ([dict(input_size=224),
          dict(scale=(112, 56), keep_ratio=False)], (56, 112)),
        ([
            dict(crop_size=224),
            dict(scale=(80, 64), keep_ratio=False),
            dict(input_format='NCHW')
        ], (64, 80)),
    ])
def test_frame_size_is_the_last_that_is_fixed(steps, size):
    assert frame_size(steps) == size


@pytest.mark.parametrize(
    'steps',
    [[], [dict(scale=(-1, 256)),
          dict(scale=(320, 240), keep_ratio=True)]])
def test_frame_size_must_be_fixed(steps):
    with pytest.raises(ValueError, match='add a CenterCrop'):
        frame_size(steps)


@pytest.mark.parametrize(
    'name', ['selfy_tsm_r50_1x1x16_sthv1_2clip', 'selfy_tsm_r50_1x1x16_k400'])
def test_a_config_that_calls_them_can_be_dumped(load, name, tmp_path):
    cfg = load(name)
    path = tmp_path / 'dumped.py'
    cfg.dump(path)
    assert Config.fromfile(path).to_dict() == cfg.to_dict()


def test_sizes_are_in_proportion(load):
    cfg = load('selfy_tsm_r50_sthv2')
    use_size(cfg, 112)
    for loader in cfg.train_dataloader, cfg.test_dataloader:
        assert frame_size(loader.dataset.pipeline) == (112, 112)
        step = find_step(loader.dataset.pipeline, 'Resize')
        assert step.scale == (160, 120)
    crop, = (
        s for s in cfg.train_dataloader.dataset.pipeline
        if s.type == 'MultiScaleCrop')
    assert crop.input_size == 112 and crop.scales == (1, 0.875, 0.75, 0.66)
