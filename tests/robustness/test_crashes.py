"""Trainings that are killed, or run out of space, and are resumed.

``KILLS=20 pytest tests/robustness/test_crashes.py`` kills more often.
"""
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import ToolProcess

from selfy_mmaction.engine.checkpoint import find_last_checkpoint

KILLS = int(os.environ.get('KILLS', 3))
EPOCHS = KILLS + 2


@pytest.fixture(scope='module')
def train(repo, motion_options):
    """Start or continue a training in a folder."""
    started = []

    def start(folder, **kwargs):
        process = ToolProcess('train', [
            repo / 'configs/selfy_tsm_r18_motion.py', '--work-dir', 'run',
            '--resume', '--cfg-options', *motion_options,
            f'train_cfg.max_epochs={EPOCHS}'
        ], folder, **kwargs)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope='module')
def whole(train, tmp_path_factory):
    """The folder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp('whole')
    process = train(folder)
    assert process.wait() == 0, process.log
    return folder


def weights(folder):
    return torch.load(folder / f'run/epoch_{EPOCHS}.pth')['state_dict']


def sizes(folder):
    """The size of each file that a checkpoint may be written to."""
    return {
        entry.name: entry.stat().st_size
        for entry in os.scandir(folder) if '.pth' in entry.name
    } if folder.exists() else {}


def wait_for_lines(process, number):
    """Wait for lines of progress."""
    while (process.runs and len(
            re.findall(r'Epoch\((?:train|val)\)', process.log)) < number):
        time.sleep(0.01)


def wait_for_write(process, folder):
    """Wait until a checkpoint is being written."""
    before = sizes(folder)
    while process.runs and sizes(folder) == before:
        time.sleep(0.001)


def test_disturbed_training_ends_as_any_other(train, whole, tmp_path):
    run = tmp_path / 'run'
    random = np.random.default_rng(0)
    for i in range(KILLS):
        process = train(tmp_path)
        if i % 3 == 1:
            wait_for_write(process, run)
        else:
            wait_for_lines(process, random.integers(1, 8))
            time.sleep(random.uniform(0, 0.3))
        process.kill()
        last = find_last_checkpoint(run)
        assert last is None or torch.load(last)['state_dict']

    # A full disk: no file can grow larger than half a checkpoint.
    saved = last and Path(last).read_bytes()
    limit = sizes(whole / 'run')[f'epoch_{EPOCHS}.pth'] // 2
    process = train(tmp_path, limit=limit)
    assert process.wait() == 1
    assert re.fullmatch(
        r'train.py: error: could not write \S+/epoch_\d+.pth: File too large. '
        'Earlier checkpoints are intact: make room and continue with '
        '--resume.',
        process.log.strip().splitlines()[-1])
    assert find_last_checkpoint(run) == last
    assert not last or Path(last).read_bytes() == saved

    process = train(tmp_path)
    assert process.wait() == 0, process.log
    expected, found = weights(whole), weights(tmp_path)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key
    best = [{path.name
             for path in (folder / 'run').glob('best_*')}
            for folder in (whole, tmp_path)]
    assert best[0] == best[1] and len(best[0]) == 1


def test_two_trainings_share_a_folder(repo, motion_options, tmp_path):
    """By mistake: each checkpoint is that of one of them, as a whole."""
    both = []
    for name in 'ab':
        folder = tmp_path / name
        folder.mkdir()
        both.append(
            ToolProcess('train', [
                repo / 'configs/selfy_tsm_r18_motion.py', '--work-dir',
                tmp_path / 'run', '--no-validate', '--cfg-options',
                *motion_options
            ], folder))
    for process in both:
        assert process.wait() == 0, process.log
    names = {x.name for x in (tmp_path / 'run').glob('*.pth')}
    assert names == {'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'}
    assert all(
        torch.load(tmp_path / 'run' / name)['state_dict'] for name in names)
    assert not [*(tmp_path / 'run').glob('.*')]
