"""Every row of the paper: its config, its data set, its test protocol."""
import copy
import os
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import release_files
import torch
from mmaction.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from releases import Preparation

from selfy_mmaction.datasets.recipes import find_step
from selfy_mmaction.engine.checks import check_frames

CONFIGS = Path(__file__).parent.parent / 'configs'
LEFT_RIGHT = {
    f'{act} from {way}'
    for act in ('Pulling something', 'Pushing something')
    for way in ('left to right', 'right to left')
} | {
    f'Turning the camera {side} while filming something'
    for side in ('left', 'right')
}
# Classes, and what differs from Something-Something V2 and others: `batch` is
# the batch of all GPUs, `views` the number of clips x crops per video in
# testing, `best` the metric that selects the best checkpoint.
USUAL = dict(
    storage='VideoDataset',
    sampler='SampleFrames',
    frozen=set(),
    batch=64,
    views=1,
    best='acc/top1')
OTHERS = dict(
    sthv1=dict(classes=174, storage='RawframeDataset', frozen=LEFT_RIGHT),
    sthv2=dict(classes=174, frozen=LEFT_RIGHT),
    k400=dict(classes=400, sampler='DenseSampleFrames', batch=96, views=30),
    diving48=dict(classes=48),
    diving48_v1=dict(classes=48),
    gym99=dict(classes=99, best='acc/mean1'),
    gym288=dict(classes=288, best='acc/mean1'))
RECIPES = {
    name: SimpleNamespace(**(USUAL | others))
    for name, others in OTHERS.items()
}
DATASET = re.compile(r'.*_r50_(?:1x1x16_)?(\w+?)(?:_2clip)?')
NAMES = {
    path.stem: match[1]
    for path in sorted(CONFIGS.glob('*_r50_*.py'))
    if (match := DATASET.fullmatch(path.stem)) and match[1] in RECIPES
}
# The same data sets and their views, for transformers.
VIDEOMAE = {
    'selfy_vit_b16_videomae_sthv2': ('sthv2', 2 * 3),
    'selfy_vit_b16_videomae_k400': ('k400', 5 * 3)
}
SMALL = {
    (320, 240): (40, 32),
    (-1, 256): (-1, 36),
    (224, 224): (32, 32),
    (-1, 224): (-1, 32),
    224: 32,
    240: 32,
    256: 36
}


@pytest.fixture(scope='module')
def prepare(tmp_path_factory, repo):
    """Prepares the miniature release of a data set, once."""
    init_default_scope('mmaction')
    folder = tmp_path_factory.mktemp('kinds')
    videos = dict(
        mp4=release_files.make_video(folder / 'one.mp4'),
        webm=release_files.make_video(folder / 'one.webm'))

    @cache
    def prepare(dataset):
        root = tmp_path_factory.mktemp(dataset)
        release_files.RELEASES[dataset](root, repo=repo, **videos)
        assert Preparation(dataset, root, partial_copy=True).run()
        return root

    return prepare


def shrink(cfg, root):
    """Bring a config down to a miniature data set and to small frames."""
    cfg.model.backbone.pretrained = None
    for stage in 'train', 'val', 'test':
        loader = cfg[f'{stage}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=1)
        loader.dataset.data_root = str(root)
        classes = os.path.basename(loader.dataset.metainfo.classes)
        if 'gym288' in classes:
            loader.dataset.metainfo.classes = f'{root}/{classes}'
        for step in loader.dataset.pipeline:
            for key in {'scale', 'crop_size'} & {*step}:
                value = step[key]
                step[key] = SMALL.get(
                    value if isinstance(value, int) else tuple(value))
    return cfg


def load(name):
    """A config, whose pipelines are held to the network at full size."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    for stage in 'train', 'val', 'test':
        check_frames(cfg, stage)
    return cfg


def load_batch(cfg, stage):
    """The first batch of a stage, and its data set."""
    loader = Runner.build_dataloader(cfg[f'{stage}_dataloader'], seed=0)
    return next(iter(loader)), loader.dataset


def predict(model, batch):
    """The sample of a batch of one."""
    model.train(False)
    with torch.no_grad():
        sample, = model.test_step(batch)
    return sample


def never_flipped(step, classes):
    """The classes that a step never flips."""
    assert step.flip_ratio == 0.5
    flip = TRANSFORMS.build({**step, 'flip_ratio': 1})
    frames = [np.zeros((2, 3, 3), np.uint8)]
    return {
        name
        for label, name in enumerate(classes) if not flip(
            dict(label=label, modality='RGB', img_shape=(
                2, 3), imgs=frames))['flip']
    }


@pytest.mark.parametrize('name', NAMES)
def test_config_trains_and_tests(name, prepare):
    recipe, frames = RECIPES[NAMES[name]], 16 if '1x1x16' in name else 8
    views = 2 if name.endswith('_2clip') else recipe.views
    cfg = load(name)
    assert cfg.auto_scale_lr.base_batch_size == recipe.batch
    assert cfg.train_dataloader.batch_size * 8 == recipe.batch
    assert cfg.train_dataloader.drop_last
    assert cfg.model.backbone.depth == 50
    cfg = shrink(cfg, prepare(NAMES[name]))
    cfg.model.backbone.depth, cfg.model.cls_head.in_channels = 18, 512
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    kind = 'ResNetSELFY' if 'selfy' in name else 'ResNetTSM'
    assert type(model.backbone).__name__ == kind
    assert model.backbone.is_shift == ('tsm' in name)
    for part in model.backbone, model.cls_head:
        assert part.num_segments == frames

    batch, data = load_batch(cfg, 'train')
    classes = data.metainfo['classes']
    assert len(classes) == recipe.classes
    assert [len(clip) for clip in batch['inputs']] == [frames]
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    weight = model.cls_head.fc_cls.weight
    before = weight.detach().clone()
    losses = model.train_step(batch, wrapper)
    assert np.isfinite(losses['loss'].item())
    assert not torch.equal(before, weight)
    step, = (
        s for s in cfg.train_dataloader.dataset.pipeline if 'Flip' in s.type)
    assert recipe.frozen == never_flipped(step, classes) == {
        name
        for name in classes
        # "pulling it right out" is no direction
        if {'left', 'right'}
        & {*name.lower().replace('right out', '').split()}
    }
    if recipe.frozen:  # the labels of the official code
        assert {sorted(classes).index(x)
                for x in LEFT_RIGHT} == {86, 87, 93, 94, 166, 167}

    for stage in 'train', 'val', 'test':
        config = cfg[f'{stage}_dataloader'].dataset
        steps = [step.type for step in config.pipeline]
        assert config.type == recipe.storage
        assert recipe.sampler in steps
        assert ('VideoDecode' in steps) == (recipe.storage == 'VideoDataset')
        data = DATASETS.build(config)
        labels = [data.get_data_info(i)['label'] for i in range(len(data))]
        assert 0 <= min(labels) and max(labels) < recipe.classes

    batch, data = load_batch(cfg, 'test')
    assert [len(clip) for clip in batch['inputs']] == [views * frames]
    sample = predict(model, batch)
    assert sample.pred_score.shape == (recipe.classes, )
    evaluator = Evaluator(METRICS.build(cfg.test_evaluator))
    evaluator.dataset_meta = data.metainfo
    evaluator.process([sample], batch)
    metrics = evaluator.evaluate(1)
    assert {'acc/top1', 'acc/top5', 'acc/mean1'} == set(metrics)
    # 'auto' takes the first of them; the higher the better.
    headline = next(iter(metrics))
    assert headline == recipe.best
    assert cfg.default_hooks.checkpoint.save_best in ('auto', headline)
    assert cfg.default_hooks.checkpoint.get('rule', 'greater') == 'greater'


@pytest.mark.parametrize('name', VIDEOMAE)
def test_videomae_config_trains_and_tests(name, prepare):
    assert set(VIDEOMAE) == {path.stem for path in CONFIGS.glob('*_vit_*.py')}
    dataset, views = VIDEOMAE[name]
    cfg = load(name)
    assert cfg.train_dataloader.batch_size * 8 == 64
    # No clip is flipped if the data set has frozen classes.
    flip = find_step(cfg.train_dataloader.dataset.pipeline, 'Flip')
    assert flip.flip_ratio == (0 if RECIPES[dataset].frozen else 0.5)
    # All but the blocks is MMAction2's, whose zoo has the weights.
    backbone = cfg.model.backbone
    assert backbone.selfy and backbone.selfy_indices == (5, )
    assert {
        key: value
        for key, value in backbone.items() if 'selfy' not in key
    } == dict(
        type='ViTSELFY',
        img_size=224,
        patch_size=16,
        embed_dims=768,
        depth=12,
        num_heads=12,
        mlp_ratio=4,
        qkv_bias=True,
        num_frames=16,
        drop_path_rate=0.1,
        norm_cfg=dict(type='LN', eps=1e-6))
    # One scheduler after the other, to the end of the training.
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == cosine.begin and not {'T_max', 'end'} & set(cosine)

    cfg = shrink(cfg, prepare(dataset))
    backbone.update(
        img_size=32, patch_size=8, embed_dims=32, depth=6, num_heads=2)
    cfg.model.cls_head.in_channels = 32
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    cfg.train_dataloader.batch_size = 2
    batch, _ = load_batch(cfg, 'train')
    assert [clip.shape for clip in batch['inputs']] == 2 * [(1, 3, 16, 32, 32)]
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):
        losses = model.train_step(copy.deepcopy(batch), wrapper)
        assert np.isfinite(losses['loss'].item())
    for name, p in model.named_parameters():
        assert not torch.equal(p, before[name]), name

    batch, _ = load_batch(cfg, 'test')
    assert [clip.shape for clip in batch['inputs']] == [(views, 3, 16, 32, 32)]
    sample = predict(model, batch)
    assert sample.pred_score.shape == (RECIPES[dataset].classes, )
    torch.testing.assert_close(sample.pred_score.sum(), torch.tensor(1.))


@pytest.mark.parametrize('name, call, folder, steps', [
    ('selfy_tsm_r50_sthv1', 'use_videos(_base_)', 'videos',
     ['VideoInit', 'SampleFrames', 'VideoDecode', 'PillowResize']),
    ('selfy_tsm_r50_k400', 'use_rawframes(_base_)', 'rawframes_train',
     ['DenseSampleFrames', 'RawFrameDecode', 'PillowResize']),
    ('selfy_tsm_r50_1x1x16_gym99',
     "use_rawframes(_base_, folders=('subactions', 'subaction_frames'))",
     'subaction_frames', ['SampleFrames', 'RawFrameDecode', 'PillowResize']),
])
def test_other_storage_is_the_documented_line(name, call, folder, steps,
                                              prepare, repo, tmp_path):
    text = (repo / 'docs/datasets.md').read_text()
    assert f'`{call}`' in text or f'\n{call}\n' in text
    written, = re.findall(r'```python\n(_base_.*?)```', text, re.DOTALL)
    for old, new in (('selfy_tsm_r50_sthv2',
                      f'{CONFIGS}/{name}'), ('use_rawframes(_base_)', call),
                     ('import use_rawframes', f'import {call.split("(")[0]}')):
        written = written.replace(old, new)
    path = tmp_path / 'user.py'
    path.write_text(written)
    cfg, dataset = load(tmp_path / 'user'), NAMES[name]
    for stage in 'train', 'val', 'test':
        pipeline = cfg[f'{stage}_dataloader'].dataset.pipeline
        assert [step.type for step in pipeline][:len(steps)] == steps

    root = prepare(dataset)
    data = shrink(cfg, root).train_dataloader.dataset
    assert [*data.data_prefix.values()] == [folder]
    storage = 'videos' if 'use_videos' in call else 'rawframes'
    for path in root.glob(f'{dataset}_*_list_*'):
        split = path.name.removeprefix(f'{dataset}_').split('_')[0]
        for line in path.read_text().splitlines():
            clip = os.path.splitext(line.split()[0])[0]
            place = root / folder.replace('train', split) / clip
            place.parent.mkdir(parents=True, exist_ok=True)
            if storage == 'videos':
                release_files.make_video(place.with_suffix('.mp4'))
            else:
                release_files.make_frames(place, 'img_{:05}.jpg')
    assert Preparation(dataset, root, storage, partial_copy=True).run()
    data = DATASETS.build(data)
    assert len(data) == 4
    assert data[0]['inputs'].shape[1:] == (3, 32, 32)
