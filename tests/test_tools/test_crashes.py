"""Trainings that are killed, or run out of space, and go on.

``KILLS=20 pytest tests/test_crashes.py`` kills more often.
"""
import os
import re
import time

import numpy as np
import pytest
import torch
from processes import ToolProcess

from selfy_mmaction.engine.checkpoint import find_last_checkpoint

KILLS = int(os.environ.get('KILLS', 3))
EPOCHS = 4 + KILLS // 3


@pytest.fixture
def train(repo, motion_options, tmp_path):
    """Start or continue a training in a folder."""
    started = []

    def start(folder, **kwargs):
        (tmp_path / folder).mkdir(exist_ok=True)
        process = ToolProcess('train', [
            repo / 'configs/selfy_tsm_r18_motion.py', '--work-dir', 'run',
            '--resume', '--cfg-options', *motion_options,
            f'train_cfg.max_epochs={EPOCHS}',
            f'param_scheduler.0.total_steps={EPOCHS}'
        ], tmp_path / folder, **kwargs)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


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
    while (process.runs and
           len(re.findall(r'Epoch\((?:train|val)\)', process.log)) < number):
        time.sleep(0.01)


def wait_for_write(process, folder):
    """Wait until a checkpoint is being written."""
    before = sizes(folder)
    while process.runs and sizes(folder) == before:
        time.sleep(0.001)


def test_killed_training_ends_as_any_other(train, tmp_path):
    process = train('whole')
    assert process.wait() == 0, process.log

    random = np.random.default_rng(0)
    for i in range(KILLS):
        process = train('killed')
        if i % 3 == 1:
            wait_for_write(process, tmp_path / 'killed/run')
        else:
            wait_for_lines(process, random.integers(1, 8))
            time.sleep(random.uniform(0, 0.3))
        process.kill()
        last = find_last_checkpoint(tmp_path / 'killed/run')
        assert last is None or torch.load(last)['state_dict']
    process = train('killed')
    assert process.wait() == 0, process.log

    expected, found = weights(tmp_path / 'whole'), weights(tmp_path / 'killed')
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key
    best = [{path.name for path in (tmp_path / folder / 'run').glob('best_*')}
            for folder in ('whole', 'killed')]
    assert best[0] == best[1] and len(best[0]) == 1
