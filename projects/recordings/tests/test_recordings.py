"""The study of real recordings, on clips that are made here."""
import json
import sys

import numpy as np
import pytest
import report
import tasks
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from selfy_mmaction.apis.video import write_video

SMALL = [
    'model.backbone.num_stages=1', 'model.backbone.strides=(1,)',
    'model.backbone.dilations=(1,)', 'model.backbone.out_indices=(0,)',
    'model.cls_head.in_channels=64', 'model.backbone.selfy.window=(3,3,3)',
    'train_cfg.max_epochs=4'
]


@pytest.fixture
def run(load_tool, monkeypatch):
    """The module, with two trainings."""
    module = load_tool('projects/recordings/run')
    chosen = [
        module.Training('msr_action3d', 'classes', 'TSM', 0),
        module.Training('msr_action3d', 'direction', 'SELFY on TSN', 0)
    ]
    monkeypatch.setattr(module, 'TRAININGS', chosen)
    monkeypatch.setattr(report, 'SETS',
                        dict(msr_action3d=('MSR-Action3D', ['bright'])))
    return module


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two classes of clips that brighten or darken, and their split."""
    monkeypatch.setenv('RECORDINGS', str(tmp_path / 'data'))
    root = tmp_path / 'data/msr_action3d'
    root.mkdir(parents=True)
    lines = ['clip,label,group,split']
    for i in range(6):
        ramp = np.linspace(0, 200, 10)[::1 if i % 2 else -1]
        frames = np.broadcast_to(ramp[:, None, None, None], (10, 40, 40, 3))
        write_video(root / f'{i}.mp4', frames.astype('uint8') + i, 12)
        lines.append(f'{i}.mp4,{["dark", "bright"][i % 2]},{i // 2},'
                     f'{"test" if i > 3 else "train"}')
    (root / 'clips.csv').write_text('\n'.join(lines))
    return tmp_path / 'data'


@pytest.fixture
def start(run, data, tmp_path, monkeypatch):
    """Run the command."""

    def start(*args):
        monkeypatch.setattr(sys, 'argv', [
            'run.py', '--data',
            str(data), '--out',
            str(tmp_path / 'out'), *args, '--cfg-options', *SMALL
        ])
        run.main()

    return start


def test_from_clips_to_tables_and_again(start, run, tmp_path, monkeypatch):
    # The second training is interrupted in its second epoch.
    save = Runner.save_checkpoint

    def interrupt(self, *args, **kwargs):
        if 'SELFY_on_TSN' in self.work_dir and self.epoch == 1:
            raise OSError('The disk is full.')
        save(self, *args, **kwargs)

    monkeypatch.setattr(Runner, 'save_checkpoint', interrupt)
    with pytest.raises(SystemExit):
        start()
    monkeypatch.setattr(Runner, 'save_checkpoint', save)
    out = tmp_path / 'out'
    first, = out.rglob('result.json')
    made = first.stat().st_mtime_ns
    start()
    assert first.stat().st_mtime_ns == made
    second = out / 'msr_action3d_direction/SELFY_on_TSN/0'
    log = max(second.glob('*/*.log')).read_text()
    assert 'resumed epoch: 1' in log
    start()
    assert max(second.glob('*/*.log')).read_text() == log

    for path, n in (first, 1), (second / 'result.json', 2):
        # Every clip is played in both directions.
        result = json.loads(path.read_text())
        counts = [[total for _, total in result[part].values()]
                  for part in ('train', 'test')]
        assert counts == [[2 * n, 2 * n], [n, n]]
    text = (out / 'tables.md').read_text()
    assert 'MSR-Action3D: forwards' in text and '| SELFY on TSN | 1 |' in text


def test_backwards_is_forwards_reversed(run, data):
    root = data / 'msr_action3d'
    (root / 'classes.txt').write_text('bright\ndark\n')
    for split in 'train', 'test':
        (root / f'folder_{split}_list_videos.txt').write_text('1.mp4\t0\n')
    cfg = run.Training('msr_action3d', 'direction', 'TSM', 0).load_config({})
    loader = Runner.build_dataloader(cfg.test_dataloader)
    forwards, backwards = (
        loader.dataset[i]['inputs'].float().mean((1, 2, 3)) for i in (0, 1))
    assert (forwards.diff() > 0).all()
    assert (forwards.flip(0) == backwards).all()
    assert [loader.dataset[i]['data_samples'].gt_label.item()
            for i in (0, 1)] == [0, 1]


def test_every_design_differs_and_starts(run, data):
    root = data / 'msr_action3d'
    (root / 'classes.txt').write_text('bright\ndark\n')
    lines = [f'{i}.mp4\t{i % 2}' for i in range(6)]
    for split in 'train', 'test':
        (root / f'folder_{split}_list_videos.txt').write_text('\n'.join(lines))
    init_default_scope('mmaction')
    seen = []
    for name in run.DESIGNS:
        cfg = run.Training('msr_action3d', 'few_1', name, 0).load_config({})
        model = MODELS.build(cfg.model)
        described = cfg.model.backbone.to_dict(), cfg.load_from
        assert described not in seen
        seen.append(described)
        # One of the three clips of each class, thrice as many epochs.
        assert tasks.read_list(cfg.train_dataloader.dataset) == lines[:2]
        assert cfg.train_cfg.max_epochs == 3 * 18
        assert model(torch.zeros(1, 8, 3, 88, 88)).shape[1] == (
            cfg.model.cls_head.in_channels)
    weights = torch.load(cfg.load_from)['state_dict']
    mine = model.state_dict()
    assert mine.keys() == weights.keys()
    assert [key for key in mine if mine[key].shape != weights[key].shape
            ] == ['cls_head.fc_cls.weight', 'cls_head.fc_cls.bias']


def test_the_table_has_means_and_spreads():
    results = [
        dict(
            network='TSM',
            test=dict(a=[right, 10], b=[10, 10]),
            train=dict(a=[1, 1], b=[1, 1]),
            flops=10**9,
            stss_flops=10**9,
            params=10**6) for right in (0, 10)
    ]
    assert report.table(results, ['TSN', 'TSM'], [
        'a'
    ], dict(TSM=0.5)).splitlines()[-1] == (
        '| TSM | 2 | 75.0 ± 35.4 | 50.0 ± 70.7 | 100.0 ± 0.0 | 2.00 | 1.00 '
        '| 0.50 |')
