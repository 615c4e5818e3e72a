"""MMAction2's own configs with the README's five lines, in every tool."""
import argparse
import re
import runpy
import sys
from pathlib import Path

import mmaction
import publish_model
import pytest
import torch
import update_zoo
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from selfy_mmaction.engine.checkpoint import load_checkpoint
from selfy_mmaction.evaluation.complexity import get_complexity

RECOGNITION = Path(mmaction.__file__).parent / '.mim/configs/recognition'
KINETICS = {
    'tsm': 'tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb.py',
    'tsn': 'tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py'
}
FIVE_LINES = """
custom_imports = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        type='ResNetSELFY',
        selfy=dict(type='SELFYBlock'),
        selfy_indices=(1, )))
load_from = {load_from!r}
"""
pytestmark = pytest.mark.skipif(
    not RECOGNITION.exists(),
    reason='this installation of MMAction2 has no configs')


def shrink(cfg, root):
    """Bring a config down to a miniature data set."""
    options = {
        'train_cfg.max_epochs': 1,
        'model.backbone.depth': 18,
        'model.backbone.pretrained': None,
        'model.cls_head.in_channels': 512,
        'model.cls_head.num_classes': 8,
        'train_dataloader.dataset.pipeline.4.input_size': 32,
        'train_dataloader.dataset.pipeline.5.scale': (32, 32),
        'val_dataloader.dataset.pipeline.4.crop_size': 32,
        'test_dataloader.dataset.pipeline.4.crop_size': 32,
    }
    for stage, split in ('train', 'train'), ('val', 'val'), ('test', 'val'):
        loader = f'{stage}_dataloader'
        options |= {
            f'{loader}.batch_size': 2,
            f'{loader}.num_workers': 0,
            f'{loader}.persistent_workers': False,
            f'{loader}.dataset.data_prefix.video': f'{root}/videos',
            f'{loader}.dataset.ann_file': f'{root}/{split}.txt',
            f'{loader}.dataset.pipeline.3.scale': (-1, 40),
        }
    cfg.merge_from_dict(options)
    return cfg


@pytest.fixture
def project(tmp_path, motion_root):
    """Make the config and the checkpoint of a user; return their paths."""

    def make(kind, **settings):
        base = RECOGNITION / kind / KINETICS[kind]
        init_default_scope('mmaction')
        plain = MODELS.build(shrink(Config.fromfile(base), motion_root).model)
        torch.manual_seed(0)
        for parameter in plain.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        weights = tmp_path / 'mmaction.pth'
        torch.save(dict(meta={}, state_dict=plain.state_dict()), weights)
        config = tmp_path / 'own.py'
        config.write_text(f'_base_ = {str(base)!r}\n' +
                          FIVE_LINES.format(load_from=str(weights)))
        cfg = shrink(Config.fromfile(config), motion_root)
        cfg.merge_from_dict(settings)
        if kind == 'tsm':  # the same clips through wrappers
            train, test = cfg.train_dataloader, cfg.test_dataloader
            train.dataset = dict(
                type='RepeatDataset', times=1, dataset=train.dataset)
            test.dataset = dict(
                type='ConcatDataset', datasets=[test.dataset, test.dataset])
        cfg.dump(config)
        return config, weights

    return make


@pytest.fixture
def run(load_tool, monkeypatch, tmp_path):
    """Run a tool that ends well."""
    monkeypatch.chdir(tmp_path)

    def call(name, *args):
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *map(str, args)])
        try:
            load_tool(name).main()
        except SystemExit as end:
            assert not end.code, end.code

    return call


SETTINGS = {
    'tsm': {},
    'tsn': {
        'model.backbone.is_shift': False,
        'model.backbone.num_segments': 3,
        'test_dataloader.dataset.pipeline.1.num_clips': 3,
        'test_dataloader.dataset.pipeline.1.twice_sample': True
    }
}


def test_bad_clips_of_a_wrapper_are_left_out(project, run, save_checkpoint,
                                             tmp_path, capsys):
    config, _ = project('tsm')
    weights = save_checkpoint(Config.fromfile(config), tmp_path / 'selfy.pth')
    (tmp_path / 'bad.txt').write_text('left0.mp4 0\nnone.mp4 1\n')
    run('test', config, weights, '--skip-bad', '--cfg-options',
        f'test_dataloader.dataset.datasets.1.ann_file={tmp_path}/bad.txt')
    log = capsys.readouterr().out
    assert '1 of 5 clips are left out' in log and 'acc/partial_' not in log
    assert 'partial_acc/top1' in log


@pytest.mark.parametrize('kind', KINETICS)
def test_every_tool_takes_them(kind, project, run, load_tool, motion_root,
                               capsys):
    config, weights = project(kind, **SETTINGS[kind])
    run('train', config, '--work-dir', 'run')
    log = capsys.readouterr().out
    assert f'{weights} has no SELFY block backbone.selfy.layer2' in log
    assert not re.search('size mismatch|missing keys|unexpected key', log)
    checkpoint = 'run/epoch_1.pth'
    run('train', config, '--work-dir', 'run', '--resume')
    run('test', config, checkpoint, '--work-dir', 'run', '--dump', 'dump.npz')
    assert 'acc/top1' in capsys.readouterr().out
    video = motion_root / 'videos/left0.mp4'
    run('predict', video, config, checkpoint, '--device', 'cpu', '--json')
    run('get_flops', config)
    assert 'multiply-adds: ' in capsys.readouterr().out
    run('export_onnx', config, checkpoint, 'model.onnx')
    # as in publish_model and update_zoo, which have the repository's configs
    saved = load_checkpoint(checkpoint)
    cfg = Config.fromfile(config)
    published = publish_model.strip_checkpoint(saved, checkpoint, cfg)
    assert published['state_dict'].keys() == saved['state_dict'].keys()
    entry = update_zoo.describe(f'selfy_{kind}_r18_motion', cfg,
                                get_complexity(cfg, (32, 32)))
    # the default of the backbone, and what the config says
    assert entry['Metadata']['Frames'] == dict(tsm=8, tsn=3)[kind]
    if kind == 'tsn':
        return  # The others do not depend on the number of frames.
    run('predict', video, config, 'model.onnx', '--backend', 'onnx')
    run('ensemble', 'dump.npz')
    run('analyze_results', config, 'dump.npz', 'pictures')
    run('visualize_stss', video, config, checkpoint, '--device', 'cpu',
        '--out', 'stss.png')
    run('plot_logs', 'run', '--out', 'curves.png')
    run('check_data', config)
    networks = load_tool('projects/page/app').load_predictors(
        argparse.Namespace(
            config=str(config),
            checkpoint=checkpoint,
            device='cpu',
            cfg_options={}))
    assert all(len(network(video)) == 5 for network in networks)


def test_a_tsn_checkpoint_asks_for_no_shift(project, run_tool):
    config, weights = project('tsn', **{'model.backbone.num_segments': 3})
    assert run_tool('train', config) == (
        f'train.py: error: {weights} does not fit the model of the config: it '
        'is of a network without temporal shift: set '
        'model.backbone.is_shift=False.')


def test_frames_that_do_not_fit_are_named(project, run_tool, motion_root):
    config, weights = project('tsn', **{'model.backbone.is_shift': False})
    assert run_tool('train', config) == (
        'train.py: error: train_dataloader samples 3 frames (clip_len x '
        'num_clips), but model.backbone.num_segments=8: make them equal.')
    message = (
        'test_dataloader samples 25 frames (clip_len x num_clips), but '
        'model.backbone.num_segments=3: sample 3; for more views add crops '
        'or set twice_sample=True of SampleFrames.')
    config, _ = project(
        'tsn', **{
            'model.backbone.is_shift': False,
            'model.backbone.num_segments': 3
        })
    assert run_tool('test', config, weights) == f'test.py: error: {message}'
    assert run_tool('predict', motion_root / 'videos/left0.mp4', config,
                    weights) == f'predict.py: error: {message}'


@pytest.fixture
def mmaction_train(monkeypatch, tmp_path):
    """Run MMAction2's own train.py in this process."""

    def run(config, *options):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [
            'train.py',
            str(config), '--work-dir', 'run', '--cfg-options',
            'log_level=INFO', *options
        ])
        runpy.run_path(
            str(RECOGNITION.parents[1] / 'tools/train.py'),
            run_name='__main__')

    return run


def test_mmactions_train_says_one_thing_of_a_new_block(project, mmaction_train,
                                                       capsys):
    config, weights = project('tsm')
    mmaction_train(config)
    captured = capsys.readouterr()
    log = captured.out + captured.err
    assert f'{weights} has no SELFY block backbone.selfy.layer2' in log
    assert not re.search('match exactly|missing keys|unexpected key', log)


@pytest.mark.parametrize('options, message', [
    ([
        'model.cls_head.num_segments=16',
        'train_dataloader.dataset.dataset.pipeline.1.num_clips=16'
    ], 'num_segments=8, but model.cls_head.num_segments=16: make them equal'),
    (['train_dataloader.dataset.dataset.pipeline.1.num_clips=16'
      ], 'train_dataloader samples 16 frames .*backbone.num_segments=8'),
    (['model.backbone.depth=34'], r'does not fit .*: \S+ is missing'),
])
def test_mmactions_train_refuses_what_ours_does(project, mmaction_train,
                                                options, message):
    config, _ = project('tsm')
    with pytest.raises(ValueError, match=message):
        mmaction_train(config, *options)
