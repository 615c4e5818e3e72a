"""Several processes compute the same as one, and none waits for a dead one."""
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from motion_clips import CLASSES
from processes import start_ranks

from selfy_mmaction.evaluation.dumps import load_dump


@pytest.fixture
def config(repo):
    return repo / 'configs/selfy_tsm_r18_motion.py'


def finish(processes):
    codes = [process.wait() for process in processes]
    assert not any(codes), '\n'.join(process.log for process in processes)
    return processes[0].log


def test_two_processes_compute_as_one(config, motion_options, tmp_path):
    """Training with fixed norms at an equal global batch, then a test.

    There are 3 clips to test on: one process has two of them.
    """
    options = [
        '--work-dir',
        'run',
        '--cfg-options',
        *motion_options,
        'train_cfg.max_epochs=2',
        # Batch statistics are those of a process.
        'model.backbone.norm_eval=True',
        # Masks cannot be equal: each process draws its own.
        'model.cls_head.dropout_ratio=0',
        # Adam makes full steps even if gradients are only rounding errors.
        'optim_wrapper.optimizer.type=SGD',
        'optim_wrapper.optimizer.lr=0.1',
        'param_scheduler.0.eta_max=0.1'
    ]
    options += [
        f'{split}_dataloader.{setting}' for split in ('train', 'val', 'test')
        for setting in ('num_workers=0', 'persistent_workers=False')
    ]
    states, dumps, accuracies = [], [], []
    for number in 1, 2:
        folder = tmp_path / str(number)
        folder.mkdir()
        finish(
            start_ranks(number, 'train', [
                config, '--no-validate', *options,
                f'train_dataloader.batch_size={4 // number}'
            ], folder))
        states.append(torch.load(folder / 'run/epoch_2.pth')['state_dict'])
        # Both test the weights of the first.
        log = finish(
            start_ranks(number, 'test', [
                config, tmp_path / '1/run/epoch_2.pth', '--dump', 'dump.npz',
                *options
            ], folder))
        dumps.append(load_dump(str(folder / 'dump.npz')))
        accuracies.append(re.findall(r'acc/top1: \S+', log))

    first = torch.load(tmp_path / '1/run/epoch_1.pth')['state_dict']
    one, two = states
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-3, atol=1e-4)
    assert not torch.equal(one['cls_head.fc_cls.weight'],
                           first['cls_head.fc_cls.weight'])
    assert accuracies[0] == accuracies[1] != []
    one, two = dumps
    assert one.names == two.names == ['left4', 'right4', 'left5']
    assert one.classes == two.classes == [*CLASSES]
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_allclose(one.scores, two.scores, 1e-4, 1e-6)


@pytest.fixture
def launch(repo, config, motion_options, free_port, start_process):
    """Train with dist_train.sh."""

    def start(*options):
        return start_process(
            repo / 'tools/dist_train.sh',
            config,
            '2',
            '--work-dir',
            'run',
            '--cfg-options',
            *motion_options,
            *options,
            PORT=free_port)

    return start


def children(pid):
    """The processes that a process has started."""
    return [
        int(child) for path in Path(f'/proc/{pid}/task').glob('*/children')
        for child in path.read_text().split()
    ]


def rank_of(pid):
    return dict(
        pair.split('=', 1)
        for pair in Path(f'/proc/{pid}/environ').read_text().split('\0')
        if '=' in pair).get('RANK')


def test_error_of_a_process_ends_all(launch, motion_root, tmp_path):
    # The second process reads the second clip.
    (tmp_path / 'val.txt').write_text('left4.mp4 0\nnone.mp4 1\nleft5.mp4 0\n')
    launcher = launch(f'val_dataloader.dataset.ann_file={tmp_path}/val.txt')
    # The end of the output is when the last process has closed it.
    output = launcher.stdout.read()
    assert launcher.wait() != 0
    missing = motion_root / 'videos/none.mp4'
    assert f'train.py: error: {missing} does not exist.' in output
    assert 'Epoch(train) [2]' not in output


def test_kill_of_a_process_ends_all(launch):
    launcher = launch('train_cfg.max_epochs=1000')
    next(line for line in launcher.stdout if 'Epoch(train)' in line)
    victim, = [pid for pid in children(launcher.pid) if rank_of(pid) == '1']
    os.kill(victim, signal.SIGKILL)
    output = launcher.stdout.read()
    assert launcher.wait() != 0
    assert 'Signal 9 (SIGKILL)' in output and f'PID {victim}' in output
    assert 'Epoch(train) [1000]' not in output
