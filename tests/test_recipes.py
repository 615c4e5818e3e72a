"""Every row of the paper: its config, its data set, its test protocol."""
import copy
import os
import random
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import release_files
import torch
from mmaction.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from releases import Preparation

from selfy_mmaction.datasets.recipes import find_step
from selfy_mmaction.engine.launch import check_dataloader
from selfy_mmaction.evaluation import ensemble
from selfy_mmaction.evaluation.dumps import dump_results, load_dump
from selfy_mmaction.evaluation.zoo import Zoo

CONFIGS = Path(__file__).parent.parent / 'configs'
LEFT_RIGHT = {
    'Pulling something from left to right',
    'Pulling something from right to left',
    'Pushing something from left to right',
    'Pushing something from right to left',
    'Turning the camera left while filming something',
    'Turning the camera right while filming something'
}
# Differences between the data sets. `batch` is the batch of all GPUs, `views`
# the number of clips x crops per video in testing, `best` the metric that
# selects the best checkpoint.
RECIPES = {
    name:
    SimpleNamespace(
        **{
            'storage': 'VideoDataset',
            'sampler': 'SampleFrames',
            'frozen': set(),
            'batch': 64,
            'views': 1,
            'best': 'acc/top1',
            **recipe
        })
    for name, recipe in dict(
        sthv1=dict(classes=174, storage='RawframeDataset', frozen=LEFT_RIGHT),
        sthv2=dict(classes=174, frozen=LEFT_RIGHT),
        k400=dict(
            classes=400, sampler='DenseSampleFrames', batch=96, views=30),
        diving48=dict(classes=48),
        diving48_v1=dict(classes=48),
        gym99=dict(classes=99, best='acc/mean1'),
        gym288=dict(classes=288, best='acc/mean1')).items()
}


def get_dataset(config):
    """The data set in the name of a config."""
    name = config.split('_r50_')[1].removeprefix('1x1x16_')
    return name.removesuffix('_2clip')


NAMES = sorted(
    path.stem for path in CONFIGS.glob('*_r50_*.py')
    if get_dataset(path.stem) in RECIPES)
# The same data sets and their views, for transformers.
VIDEOMAE = {
    'selfy_vit_b16_videomae_sthv2': ('sthv2', 2 * 3),
    'selfy_vit_b16_videomae_k400': ('k400', 5 * 3)
}
ROWS = Zoo(CONFIGS.parent).rows


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmaction')


@pytest.fixture(scope='module')
def prepare(tmp_path_factory, repo):
    """Prepares the miniature release of a data set, once."""
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
    small = {
        (320, 240): (40, 32),
        (-1, 256): (-1, 36),
        (224, 224): (32, 32),
        (-1, 224): (-1, 32),
        224: 32,
        240: 32,
        256: 36
    }
    for stage in 'train', 'val', 'test':
        loader = cfg[f'{stage}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=1)
        loader.dataset.data_root = str(root)
        classes = os.path.basename(loader.dataset.metainfo.classes)
        if 'gym288' in classes:
            loader.dataset.metainfo.classes = f'{root}/{classes}'
        for step in loader.dataset.pipeline:
            for key in 'scale', 'crop_size':
                if key in step:
                    value = step[key]
                    step[key] = small.get(
                        value if isinstance(value, int) else tuple(value))
    return cfg


def get_frames(name):
    return 16 if '1x1x16' in name else 8


@pytest.mark.parametrize('name', NAMES)
def test_config_is_consistent(name, tmp_path):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    for stage in 'train', 'val', 'test':
        data = cfg[f'{stage}_dataloader'].dataset
        data.data_root = str(tmp_path)
        (tmp_path / data.ann_file).touch()
        check_dataloader(cfg, stage)
    batch = RECIPES[get_dataset(name)].batch
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.train_dataloader.batch_size * 8 == batch
    cfg.model.backbone.pretrained = None
    model = MODELS.build(cfg.model)
    selfy = 'selfy' in name
    assert type(
        model.backbone).__name__ == ('ResNetSELFY' if selfy else 'ResNetTSM')
    assert model.backbone.depth == 50
    assert model.backbone.is_shift == ('tsm' in name)
    assert model.backbone.num_segments == get_frames(name)
    assert model.cls_head.num_segments == get_frames(name)
    assert model.cls_head.num_classes == RECIPES[get_dataset(name)].classes


@pytest.mark.parametrize('name', NAMES)
def test_config_trains_and_tests(name, prepare):
    dataset = get_dataset(name)
    recipe, frames = RECIPES[dataset], get_frames(name)
    views = 2 if name.endswith('_2clip') else recipe.views
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg = shrink(cfg, prepare(dataset))
    cfg.model.backbone.depth, cfg.model.cls_head.in_channels = 18, 512
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)

    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    assert len(loader.dataset.metainfo['classes']) == recipe.classes
    batch = next(iter(loader))
    assert [len(clip) for clip in batch['inputs']] == [frames]
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    weight = model.cls_head.fc_cls.weight
    before = weight.detach().clone()
    losses = model.train_step(batch, wrapper)
    assert np.isfinite(losses['loss'].item())
    assert not torch.equal(before, weight)

    model.train(False)
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    batch = next(iter(loader))
    assert [len(clip) for clip in batch['inputs']] == [views * frames]
    with torch.no_grad():
        sample, = model.test_step(batch)
    assert sample.pred_score.shape == (recipe.classes, )
    evaluator = Evaluator(METRICS.build(cfg.test_evaluator))
    evaluator.dataset_meta = loader.dataset.metainfo
    evaluator.process([sample], batch)
    metrics = evaluator.evaluate(1)
    assert {'acc/top1', 'acc/top5', 'acc/mean1'} == set(metrics)
    # 'auto' takes the first of them; the higher the better.
    headline = next(iter(metrics))
    assert headline == recipe.best
    assert cfg.default_hooks.checkpoint.save_best in ('auto', headline)
    assert cfg.default_hooks.checkpoint.get('rule', 'greater') == 'greater'


def test_every_transformer_is_tested():
    assert set(VIDEOMAE) == {path.stem for path in CONFIGS.glob('*_vit_*.py')}


@pytest.mark.parametrize('name', VIDEOMAE)
def test_videomae_config_is_consistent(name, tmp_path):
    dataset, _ = VIDEOMAE[name]
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    for stage in 'train', 'val', 'test':
        data = cfg[f'{stage}_dataloader'].dataset
        data.data_root = str(tmp_path)
        (tmp_path / data.ann_file).touch()
        check_dataloader(cfg, stage)
    assert cfg.train_dataloader.batch_size * 8 == 64
    # No clip is flipped if the data set has frozen classes.
    flip = find_step(cfg.train_dataloader.dataset.pipeline, 'Flip')
    assert flip.flip_ratio == (0 if RECIPES[dataset].frozen else 0.5)
    # All but the blocks is MMAction2's, whose zoo has the weights.
    backbone = cfg.model.backbone
    assert backbone.pop('selfy') and backbone.pop('selfy_indices') == (5, )
    assert backbone.pop('type') == 'ViTSELFY'
    assert backbone == dict(
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
    # An epoch of each scheduler after the other, to the end.
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == cosine.begin
    assert cosine.begin + cosine.T_max == cosine.end
    assert cosine.end == cfg.train_cfg.max_epochs


def test_other_frames_than_the_transformers_are_named(tmp_path):
    cfg = Config.fromfile(CONFIGS / 'selfy_vit_b16_videomae_k400.py')
    data = cfg.train_dataloader.dataset
    data.data_root = str(tmp_path)
    (tmp_path / data.ann_file).touch()
    find_step(data.pipeline, 'SampleFrames').clip_len = 8
    with pytest.raises(
            ValueError,
            match='samples 8 frames .*'
            'model.backbone.num_frames=16: make them equal'):
        check_dataloader(cfg, 'train')


@pytest.mark.parametrize('name', VIDEOMAE)
def test_videomae_config_trains_and_tests(name, prepare, tmp_path):
    dataset, views = VIDEOMAE[name]
    classes = RECIPES[dataset].classes
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg = shrink(cfg, prepare(dataset))
    small = dict(
        img_size=32, patch_size=8, embed_dims=32, depth=6, num_heads=2)
    cfg.model.backbone.update(small)
    cfg.model.cls_head.in_channels = 32

    torch.manual_seed(0)
    # What load_from does with the weights of MMAction2's zoo.
    plain_cfg = copy.deepcopy(cfg.model)
    plain_cfg.backbone.type = 'VisionTransformer'
    plain_cfg.cls_head.num_classes = 400
    plain, model = MODELS.build(plain_cfg), MODELS.build(cfg.model)
    plain.init_weights(), model.init_weights()
    path = tmp_path / 'zoo.pth'
    torch.save(dict(state_dict=plain.state_dict()), path)
    load_checkpoint(model, str(path), logger='silent')

    cfg.train_dataloader.batch_size = 2
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batch = next(iter(loader))
    assert [clip.shape for clip in batch['inputs']] == 2 * [(1, 3, 16, 32, 32)]
    # The same network at the start.
    clips = torch.stack(batch['inputs']).float()
    model.train(False), plain.train(False)
    with torch.no_grad():
        features, expected = (
            network.extract_feat(clips)[0] for network in (model, plain))
    assert torch.equal(features, expected)
    # A head for other classes is new.
    assert torch.equal(model.cls_head.fc_cls.weight,
                       plain.cls_head.fc_cls.weight) == (
                           classes == 400)

    model.train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):
        losses = model.train_step(copy.deepcopy(batch), wrapper)
        assert np.isfinite(losses['loss'].item())
    for name, p in model.named_parameters():
        assert not torch.equal(p, before[name]), name

    model.train(False)
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    batch = next(iter(loader))
    assert [clip.shape for clip in batch['inputs']] == [(views, 3, 16, 32, 32)]
    with torch.no_grad():
        sample, = model.test_step(batch)
    assert sample.pred_score.shape == (classes, )
    torch.testing.assert_close(sample.pred_score.sum(), torch.tensor(1.))


@pytest.mark.parametrize('row', ROWS)
def test_row_from_its_release_to_its_number(row, prepare, tmp_path):
    dumps = []
    for name in ROWS[row]['Configs']:
        cfg = shrink(
            Config.fromfile(CONFIGS / f'{name}.py'),
            prepare(get_dataset(name)))
        cfg.model.backbone.depth, cfg.model.cls_head.in_channels = 18, 512
        dump_results(cfg, str(tmp_path / f'{name}.npz'))
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.train(False)
        torch.nn.init.normal_(model.cls_head.fc_cls.weight)
        loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
        evaluator = Evaluator([METRICS.build(m) for m in cfg.test_evaluator])
        evaluator.dataset_meta = loader.dataset.metainfo
        with torch.no_grad():
            for batch in loader:
                evaluator.process(model.test_step(batch), batch)
        metrics = evaluator.evaluate(len(loader.dataset))
        dumps.append(load_dump(str(tmp_path / f'{name}.npz')))
        assert dumps[-1].kind == 'logits'
        # The file has the same values as the test.
        found = ensemble.get_accuracies(dumps[-1].scores, dumps[-1].labels)
        assert found['Top 1 Accuracy'] == 100 * metrics['acc/top1']
        assert found['Mean Class Accuracy'] == 100 * metrics['acc/mean1']
    scores = ensemble.average_scores(
        dumps, kind=ROWS[row].get('Average', 'logits'))
    expected = sum(dump.scores for dump in dumps) / len(dumps)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    found = ensemble.get_accuracies(scores, dumps[0].labels)
    assert found[ROWS[row]['Metric']] in (0, 50, 100)


@pytest.mark.parametrize('dataset', RECIPES)
def test_data_of_the_recipe(dataset, prepare):
    recipe = RECIPES[dataset]
    name = 'selfy_tsm_r50_1x1x16_' + dataset
    cfg = shrink(Config.fromfile(CONFIGS / f'{name}.py'), prepare(dataset))
    for stage in 'train', 'val', 'test':
        data = cfg[f'{stage}_dataloader'].dataset
        steps = [step.type for step in data.pipeline]
        assert data.type == recipe.storage
        assert recipe.sampler in steps
        assert ('DecordDecode' in steps) == (recipe.storage == 'VideoDataset')
        data = DATASETS.build(data)
        labels = [data.get_data_info(i)['label'] for i in range(len(data))]
        assert 0 <= min(labels) and max(labels) < recipe.classes
    # Which classes are never flipped, by their names.
    pipeline = cfg.train_dataloader.dataset.pipeline
    step, = (step for step in pipeline if 'Flip' in step.type)
    assert step.flip_ratio == 0.5
    flip = TRANSFORMS.build({**step, 'flip_ratio': 1})
    classes = data.metainfo['classes']
    assert recipe.frozen == {
        classes[label]
        for label in range(recipe.classes) if not flip(
            dict(
                label=label,
                modality='RGB',
                img_shape=(2, 3),
                imgs=[np.zeros((2, 3, 3), np.uint8)]))['flip']
    }


@pytest.mark.parametrize('dataset', RECIPES)
def test_no_other_class_speaks_of_left_and_right(dataset, prepare):
    path = prepare(dataset) / f'{dataset}_classes.txt'
    words = ('left', 'right')
    sided = {
        name
        for name in path.read_text().splitlines()
        # "pulling it right out" is no direction
        if any(word in name.lower().replace('right out', '').split()
               for word in words)
    }
    assert sided == RECIPES[dataset].frozen


def build_sampler(name, stage):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    step, = (
        step for step in cfg[f'{stage}_dataloader'].dataset.pipeline
        if 'Sample' in step.type)
    sampler = TRANSFORMS.build(step)
    return lambda total: sampler(dict(total_frames=total, start_index=0))[
        'frame_inds'].tolist()


@pytest.mark.parametrize(('name', 'frames'),
                         [('selfy_tsm_r50_k400', 8),
                          ('selfy_tsm_r50_1x1x16_k400', 16)])
def test_kinetics_takes_frames_from_windows_of_64(name, frames):

    def window(start, total):
        return [(start + i * 64 // frames) % total for i in range(frames)]

    train, val, test = (
        build_sampler(name, stage) for stage in ('train', 'val', 'test'))
    for total in 3, 20, 63, 64, 65, 66, 70, 250, 300:
        last = max(total - 64, 0)
        starts = np.linspace(0, last, 10).astype(int)
        assert test(total) == [
            frame for start in starts for frame in window(start, total)
        ]
        assert val(total) == window(0, total)
        # As in the official code, the last start is never drawn.
        possible = {tuple(window(s, total)) for s in range(max(last, 1))}
        drawn = {tuple(train(total)) for _ in range(300 if last < 9 else 5)}
        assert drawn == possible if last < 9 else drawn <= possible


def read_frames(cfg, stage, height, width, start):
    """Let a pipeline crop frames of a gradient; its rest is not run."""
    frame = np.mgrid[:height, :width].sum(0).astype(np.uint8)
    frame = np.repeat(frame[..., None], 3, axis=2)
    results = dict(imgs=[frame], img_shape=(height, width), modality='RGB')
    steps = cfg[f'{stage}_dataloader'].dataset.pipeline
    for step in steps[start:]:
        if step.type in ('Flip', 'FormatShape'):
            break
        results = TRANSFORMS.build(step)(results)
    return results


@pytest.mark.parametrize(
    ('shape', 'corners'),
    [
        ((360, 640), [(0, 0), (198, 0), (99, 0)]),  # 455 x 256
        ((512, 256), [(0, 0), (0, 256), (0, 128)]),
        ((256, 256), [(0, 0)] * 3),
    ])
def test_kinetics_sees_crops_of_frames_whose_short_side_is_256(shape, corners):
    cfg = Config.fromfile(CONFIGS / 'selfy_tsm_r50_k400.py')
    results = read_frames(cfg, 'test', *shape, start=3)
    assert [img.shape for img in results['imgs']] == [(256, 256, 3)] * 3
    assert results['crop_bbox'][:, :2].tolist() == [list(c) for c in corners]
    results = read_frames(cfg, 'val', *shape, start=3)
    assert [img.shape for img in results['imgs']] == [(224, 224, 3)]

    height, width = (side * 256 // min(shape) for side in shape)
    sizes = set()
    random.seed(0)
    for _ in range(60):
        results = read_frames(cfg, 'train', *shape, start=3)
        assert results['imgs'][0].shape == (224, 224, 3)
        left, top, right, bottom = results['crop_bbox']
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        sizes |= {right - left, bottom - top}
    assert sizes == {256, 224, 192, 168}


@pytest.mark.parametrize('name', ['selfy_tsm_r50_1x1x16_k400', 'tsn_r50_k400'])
def test_kinetics_trains_as_the_authors_other_network(name):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.model.backbone.update(depth=18, pretrained=None)
    cfg.model.cls_head.in_channels = 512
    assert cfg.train_cfg.max_epochs == 75
    schedule, = cfg.param_scheduler
    assert (schedule.milestones, schedule.gamma) == ([30, 60], 0.1)
    assert cfg.optim_wrapper.clip_grad.max_norm == 20
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = {
        id(param): group
        for group in optimizer.param_groups
        for param in group['params']
    }
    for key, param in model.named_parameters():
        group = groups.pop(id(param))
        bias, norm = key.endswith('bias'), param.dim() == 1
        if key == 'cls_head.fc_cls.bias':
            assert group['lr'] == 0.04
        elif not norm:
            assert group['lr'] == 0.02
        assert group['weight_decay'] == (0 if bias or norm else 1e-4)
        assert group['momentum'] == 0.9 and not group['nesterov']
    assert not groups


@pytest.mark.parametrize('dataset', ['sthv1', 'sthv2'])
@pytest.mark.parametrize('size', ['', '_1x1x16'])
def test_two_clips_are_middles_and_starts_of_segments(dataset, size):
    name = f'selfy_tsm_r50{size}_{dataset}_2clip'
    frames = 16 if size else 8
    for total in 40, 47:
        middles = [int(total / frames * (i + .5)) for i in range(frames)]
        starts = [int(total / frames * i) for i in range(frames)]
        assert build_sampler(name, 'test')(total) == middles + starts
        assert build_sampler(name, 'val')(total) == middles


@pytest.mark.parametrize(
    'name', ['selfy_tsm_r50_1x1x16_k400', 'tsm_r50_k400', 'tsn_r50_k400'])
@pytest.mark.parametrize('bound', [1, 4, 9])
def test_bounded_views_score_like_all_at_once(name, bound):
    cfg = Config.fromfile(CONFIGS / f'{name}.py').model
    cfg.backbone.update(depth=18, pretrained=None)
    cfg.cls_head.in_channels = 512
    cfg.max_testing_views = bound
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.train(False)
    plain_cfg = dict(cfg, type='Recognizer2D')
    del plain_cfg['max_testing_views']
    plain = MODELS.build(plain_cfg)
    plain.load_state_dict(model.state_dict())
    plain.train(False)

    videos, views, frames = 2, 3, cfg.backbone.num_segments
    clips = torch.randn(videos, views * frames, 3, 32, 32)
    sizes = []
    model.backbone.register_forward_pre_hook(
        lambda _, args: sizes.append(len(args[0])))

    def predict(model):
        samples = [ActionDataSample() for _ in range(videos)]
        with torch.no_grad():
            samples = model.predict(clips, samples)
        return torch.stack([sample.pred_score for sample in samples])

    expected = predict(plain)
    # the logits of the views, averaged
    with torch.no_grad():
        # [N, V * T, 3, H, W] => [N * V * T, 3, H, W] => [N, V, K]
        logits = plain(clips, stage='head').unflatten(0, (videos, views))
    torch.testing.assert_close(expected, logits.mean(1))
    torch.testing.assert_close(predict(model), expected)
    assert not torch.allclose(expected[0], expected[1])
    assert sum(sizes) == videos * views * frames
    assert max(sizes) == min(bound, videos * views) * frames


def test_views_of_one_video_are_not_mixed_with_those_of_others():
    cfg = Config.fromfile(CONFIGS / 'tsm_r50_k400.py').model
    cfg.backbone.update(depth=18, pretrained=None)
    cfg.cls_head.in_channels = 512
    # 8 videos have a multiple of 8 frames.
    with pytest.raises(ValueError, match='10 frames of a video should be a '):
        MODELS.build(cfg).predict(torch.zeros(8, 10, 3, 32, 32), [])


@pytest.mark.parametrize('bound', [0, -1, 2.5, None])
def test_bound_of_views_is_checked(bound):
    cfg = Config.fromfile(CONFIGS / 'tsm_r50_k400.py').model
    cfg.backbone.update(depth=18, pretrained=None)
    cfg.max_testing_views = bound
    with pytest.raises(ValueError, match='max_testing_views must be a pos'):
        MODELS.build(cfg)


FINEGYM = "use_rawframes(_base_, folders=('subactions', 'subaction_frames'))"


@pytest.mark.parametrize(('name', 'call', 'folder', 'steps'), [
    ('selfy_tsm_r50_sthv1', 'use_videos(_base_)', 'videos',
     ['DecordInit', 'SampleFrames', 'DecordDecode', 'PillowResize']),
    ('selfy_tsm_r50_sthv2', 'use_rawframes(_base_)', 'rawframes',
     ['SampleFrames', 'RawFrameDecode', 'PillowResize']),
    ('selfy_tsm_r50_k400', 'use_rawframes(_base_)', 'rawframes_train',
     ['DenseSampleFrames', 'RawFrameDecode', 'PillowResize']),
    ('selfy_tsm_r50_1x1x16_diving48', 'use_rawframes(_base_)', 'rawframes',
     ['SampleFrames', 'RawFrameDecode', 'PillowResize']),
    ('selfy_tsm_r50_1x1x16_diving48_v1', 'use_rawframes(_base_)', 'rawframes',
     ['SampleFrames', 'RawFrameDecode', 'PillowResize']),
    ('selfy_tsm_r50_1x1x16_gym99', FINEGYM, 'subaction_frames',
     ['SampleFrames', 'RawFrameDecode', 'PillowResize']),
    ('selfy_tsm_r50_1x1x16_gym288', FINEGYM, 'subaction_frames',
     ['SampleFrames', 'RawFrameDecode', 'PillowResize']),
])
def test_other_storage_is_the_documented_line(name, call, folder, steps,
                                              prepare, repo, tmp_path):
    text = (repo / 'docs/datasets.md').read_text()
    assert f'`{call}`' in text or f'\n{call}\n' in text
    written, = re.findall(r'```python\n(_base_.*?)```', text, re.DOTALL)
    written = written.replace('selfy_tsm_r50_sthv2', f'{CONFIGS}/{name}')
    written = written.replace('use_rawframes(_base_)',
                              call).replace('import use_rawframes',
                                            'import ' + call.split('(')[0])
    path = tmp_path / 'user.py'
    path.write_text(written)
    cfg, original = (
        Config.fromfile(p) for p in (path, CONFIGS / f'{name}.py'))
    dataset = get_dataset(name)
    root = prepare(dataset)
    storage, make = 'rawframes', release_files.make_frames
    if 'use_videos' in call:
        storage, make = 'videos', lambda place, _: release_files.make_video(
            place.with_suffix('.mp4'))
    for stage in 'train', 'val', 'test':
        data = cfg[f'{stage}_dataloader'].dataset
        assert [step.type for step in data.pipeline][:len(steps)] == steps
        # Everything else is unchanged.
        count = len(steps) - 1
        old = original[f'{stage}_dataloader'].dataset
        assert data.pipeline[count:] == old.pipeline[-len(data.pipeline[count:]
                                                          ):]
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline

    data = shrink(cfg, root).train_dataloader.dataset
    prefix, = data.data_prefix.values()
    assert prefix == folder
    for split in 'train', 'val':
        for path in root.glob(f'{dataset}_{split}_list_*'):
            for line in path.read_text().splitlines():
                clip = os.path.splitext(line.split()[0])[0]
                place = root / folder.replace('train', split) / clip
                place.parent.mkdir(parents=True, exist_ok=True)
                make(place, 'img_{:05}.jpg')
    assert Preparation(dataset, root, storage, partial_copy=True).run()
    data = DATASETS.build(data)
    assert len(data) == 4
    assert data[0]['inputs'].shape == (get_frames(name), 3, 32, 32)
