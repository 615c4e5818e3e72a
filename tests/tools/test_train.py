"""tools/train.py and its launchers, as separate processes."""
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from selfy_mmaction.engine import launch
from selfy_mmaction.engine.checkpoint import find_last_checkpoint
from selfy_mmaction.engine.runner import check_num_processes


@pytest.fixture
def train(repo, main_config, tiny, start_process):
    """Start a training and return its process."""

    def start(*args, options=(), command=None, **env):
        command = command or [sys.executable, repo / 'tools/train.py']
        return start_process(*command, main_config, *args, '--work-dir', 'run',
                             '--cfg-options', *tiny, *options, **env)

    return start


def read_until(process, text):
    """Read the output up to a line that contains a text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    pytest.fail(f'{text!r} never came:\n' + ''.join(lines))


def finish(process):
    """Return the rest of the output of a process that ends well."""
    output = process.stdout.read()
    assert process.wait() == 0, output
    return output


def test_main_config_trains_with_two_processes(trained):
    # 8 clips, 2 of them in a batch of each of the 2 processes
    assert 'Epoch(train) [1][2/2]' in trained.log
    assert re.search(r'Epoch\(val\) \[1\].*acc/top1', trained.log)
    # The rate is that of 64 clips, 16 times as many.
    assert re.search(r' lr: 6\.2500e-04', trained.log)
    saved = torch.load(trained.checkpoint)
    assert saved['meta']['epoch'] == 1 and saved['meta']['iter'] == 2
    assert len(saved['meta']['dataset_meta']['classes']) == 174
    # The terminal shows what concerns the user.
    file, = trained.work_dir.glob('*/*.log')
    log = file.read_text()
    for text in 'System environment', 'Config:', 'Hooks will be executed':
        assert text in log and text not in trained.log
    for notice in ('FileClient', 'HardDiskBackend', 'Grad strides',
                   'broadcast_buffers'):
        assert notice not in trained.log
    assert 'Checkpoints will be saved to' in trained.log


@pytest.mark.parametrize('launcher', ['torchrun', 'slurm'])
def test_two_machines_train_together(train, repo, free_port, launcher):
    if launcher == 'slurm':
        start = partial(
            train,
            '--launcher',
            'slurm',
            SLURM_NTASKS='2',
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=free_port)
    else:
        start = partial(
            train,
            '1',
            command=[repo / 'tools/dist_train.sh'],
            NNODES='2',
            PORT=free_port)
    first, second = map(finish, [
        start('--resume', NODE_RANK=i, SLURM_PROCID=i, SLURM_LOCALID=i)
        for i in '01'
    ])
    assert (first + second).count('Nothing to resume in run') == 1
    assert 'Epoch(train) [1][2/2]' in first
    assert re.search(r'Epoch\(val\) \[1\].*acc/top1', first)


def test_an_interrupted_training_is_resumed_and_killed(train, repo, free_port):
    # More epochs than can end before the signal arrives.
    many = ['train_cfg.max_epochs=50']
    process = train('--resume', options=many)
    read_until(process, 'Epoch(val) [2]')
    process.send_signal(signal.SIGINT)
    output = process.stdout.read()
    assert process.wait() == 1
    assert output.endswith('train.py: interrupted.\n')

    launcher = train(
        '2',
        '--resume',
        command=[repo / 'tools/dist_train.sh'],
        options=many,
        PORT=free_port)
    read_until(launcher, 'resumed epoch: 2, iter: 8')
    read_until(launcher, 'Epoch(val) [3]')
    launcher.kill()
    # The end of the output is when the last process has closed it.
    assert 'Epoch(train) [50]' not in launcher.stdout.read()


def test_the_last_sound_checkpoint_is_resumed(tmp_path):

    def last():
        found = find_last_checkpoint(tmp_path)
        return found and Path(found).stem

    assert last() is None
    names = 'epoch_10', 'epoch_9', 'epoch_11', 'iter_300', 'best_epoch_12'
    paths = [tmp_path / f'{name}.pth' for name in names]
    for number, path in enumerate(paths):
        torch.save(dict(weight=torch.ones(99)), path)
        # A copy may have any time.
        os.utime(path, (number, number))
    tenth, ninth, eleventh, *_ = paths
    assert last() == 'epoch_11'
    eleventh.write_bytes(eleventh.read_bytes()[:-10])  # cut short
    assert last() == 'epoch_10'
    with open(tenth, 'r+b') as file:
        file.seek(file.seek(0, os.SEEK_END) // 2)
        file.write(bytes(64))  # a block that never reached the disk
    assert last() == 'epoch_9'
    ninth.unlink()
    torch.save({}, tmp_path / 'iter_40.pth')
    assert last() == 'iter_300'


def test_no_middle_of_an_epoch_is_resumed(call_tool, run_tool, main_config,
                                          tiny, tmp_path):
    checkpoint = 'default_hooks.checkpoint'
    args = [
        '--work-dir', tmp_path, '--no-validate', '--cfg-options', *tiny,
        f'{checkpoint}.by_epoch=False', f'{checkpoint}.interval=2',
        f'{checkpoint}.save_best=None'
    ]
    call_tool('train', main_config, *args)
    for name in 'iter_2', 'iter_4':
        path = tmp_path / f'{name}.pth'
        assert run_tool('train', main_config, '--resume', path, *args) == (
            f'train.py: error: {path} was saved in the middle of an epoch '
            '(checkpoint.by_epoch=False), from which no training can resume '
            'exactly: resume from the end of an epoch, or start from its '
            'weights by load_from.')


def test_arguments_replace_what_the_config_says(load_tool, monkeypatch,
                                                main_config, tmp_path):
    tool = load_tool('train')

    def run(*args):
        """The config that train.py would run."""
        monkeypatch.setattr(
            sys, 'argv',
            ['train.py', main_config, '--work-dir',
             str(tmp_path), *args])
        parsed = tool.parse_args()
        cfg = launch.load_runner_config(parsed)
        tool.apply_args(cfg, parsed)
        return cfg

    # the last two as MMEngine has them
    options = [
        '--cfg-options', 'randomness.seed=1', 'randomness.other=2',
        'compile=True', 'efficient_conv_bn_eval=model'
    ]
    cfg = run(*options)
    assert cfg.randomness == dict(seed=1, other=2)
    assert cfg.compile is True and cfg.efficient_conv_bn_eval == 'model'
    cfg = run('--seed', '3', '--deterministic', '--no-validate', *options)
    assert cfg.randomness == dict(seed=3, other=2, deterministic=True)
    assert not cfg.val_cfg and not cfg.val_dataloader and not cfg.val_evaluator
    # with nothing to resume
    tsm = str(tmp_path / 'tsm.pth')
    torch.save({}, tsm)
    cfg = run('--resume', '--cfg-options', f'load_from={tsm}')
    assert cfg.load_from == tsm and not cfg.resume


@pytest.mark.parametrize('args, option, message', [
    (['--launcher', 'slurm'], 'log_level=INFO',
     r'--launcher slurm, but SLURM_PROCID is not set: .*'),
    ([], 'log_level.0=INFO', '--cfg-options .*'),
    ([], 'param_scheduler.0.begin=3',
     r'param_scheduler\[0\] begins after 3 epochs, but .*max_epochs=1: .*'),
])
def test_bad_input_is_one_line(run_tool, main_config, tiny, args, option,
                               message):
    code = run_tool('train', main_config, *args, '--cfg-options', *tiny,
                    option)
    assert re.fullmatch(f'train.py: error: {message}', code)


@pytest.mark.parametrize('processes, device, gpus, message', [
    (3, 'cuda', 2, '3 processes .* with 2 GPUs'),
    (1, 'mps', 0, 'connects no processes on MPS: leave it out'),
    (2, 'cuda', 2, None),
    (8, 'npu', 0, None),
])
def test_each_process_has_a_device(processes, device, gpus, message):
    if message is None:
        return check_num_processes(processes, device, gpus)
    with pytest.raises(ValueError, match=message):
        check_num_processes(processes, device, gpus)


def test_launchers_without_arguments_tell_their_usage(repo):
    for usage in ('dist_train.sh CONFIG GPUS',
                  'dist_test.sh CONFIG CHECKPOINT GPUS',
                  'slurm_train.sh PARTITION JOB_NAME CONFIG',
                  'slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT'):
        done = subprocess.run([repo / 'tools' / usage.split()[0]],
                              capture_output=True,
                              text=True)
        assert done.returncode != 0 and f'usage: {usage}' in done.stderr
