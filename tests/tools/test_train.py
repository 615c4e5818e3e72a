"""tools/train.py and its launchers, as separate processes."""
import os
import re
import signal
import subprocess
import sys

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


def test_two_nodes_train_together(train, repo, free_port):
    nodes = [
        train(
            '1',
            '--resume',
            command=[repo / 'tools/dist_train.sh'],
            NNODES='2',
            NODE_RANK=rank,
            PORT=free_port) for rank in '01'
    ]
    first, second = [finish(node) for node in nodes]
    assert (first + second).count('Nothing to resume in run') == 1
    assert 'Epoch(train) [1][2/2]' in first
    assert re.search(r'Epoch\(val\) \[1\].*acc/top1', first)


def test_slurm_trains_without_gpu(train, repo, tmp_path, free_port):
    """With a stand-in for srun, which starts the tasks on this machine."""
    srun = tmp_path / 'bin/srun'
    srun.parent.mkdir()
    srun.write_text("""#!/usr/bin/env bash
while [[ $1 == -* ]]; do
    [[ $1 == --ntasks=* ]] && export SLURM_NTASKS=${1#*=}
    shift
done
for ((task = 0; task < SLURM_NTASKS; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || exit; done
""")
    srun.chmod(0o755)
    log = finish(
        train(
            command=[repo / 'tools/slurm_train.sh', 'partition', 'job'],
            PATH=f'{srun.parent}:{os.environ["PATH"]}',
            GPUS='2',
            SRUN_ARGS='--gres=none --nodelist=localhost',
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=free_port))
    assert 'Epoch(train) [1][2/2]' in log


def test_resumes_after_kill_and_interrupt(train, tmp_path):
    three_epochs = ['train_cfg.max_epochs=3']
    process = train('--resume', options=three_epochs)
    read_until(process, 'Epoch(val) [1]')
    process.kill()
    assert process.wait() == -signal.SIGKILL

    # More epochs than can end before the signal arrives.
    process = train('--resume', options=['train_cfg.max_epochs=50'])
    read_until(process, 'resumed epoch: 1, iter: 4')
    read_until(process, 'Epoch(val) [2]')
    process.send_signal(signal.SIGINT)
    output = process.stdout.read()
    assert process.wait() == 1
    assert output.endswith('train.py: interrupted.\n')

    output = finish(train('--resume', options=three_epochs))
    assert 'resumed epoch: 2, iter: 8' in output
    assert 'SyncBatchNorm' not in output
    assert 'Epoch(train) [3][4/4]' in output
    assert 'Epoch(train) [2]' not in output
    assert torch.load(tmp_path / 'run/epoch_3.pth')['meta']['iter'] == 12


def test_processes_end_with_their_killed_launcher(train, repo, free_port):
    launcher = train(
        '2',
        command=[repo / 'tools/dist_train.sh'],
        options=['train_cfg.max_epochs=50'],
        PORT=free_port)
    read_until(launcher, 'Epoch(val) [1]')
    launcher.kill()
    # The end of the output is when the last process has closed it.
    assert 'Epoch(train) [50]' not in launcher.stdout.read()


def test_the_last_sound_checkpoint_is_resumed(tmp_path):
    assert find_last_checkpoint(tmp_path) is None
    names = ['epoch_10', 'epoch_9', 'epoch_11', 'iter_300', 'best_epoch_12']
    for number, name in enumerate(names):
        torch.save(dict(weight=torch.ones(99)), tmp_path / f'{name}.pth')
        # A copy may have any time.
        os.utime(tmp_path / f'{name}.pth', (number, number))
    last = tmp_path / 'epoch_11.pth'
    assert find_last_checkpoint(tmp_path) == str(last)
    last.write_bytes(last.read_bytes()[:-10])  # cut short
    assert find_last_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')
    with open(tmp_path / 'epoch_10.pth', 'r+b') as file:
        file.seek(file.seek(0, os.SEEK_END) // 2)
        file.write(bytes(64))  # a block that never reached the disk
    assert find_last_checkpoint(tmp_path) == str(tmp_path / 'epoch_9.pth')
    (tmp_path / 'epoch_9.pth').unlink()
    torch.save({}, tmp_path / 'iter_40.pth')
    assert find_last_checkpoint(tmp_path) == str(tmp_path / 'iter_300.pth')


def test_no_middle_of_an_epoch_is_resumed(run_tool, load_tool, monkeypatch,
                                          main_config, tiny, tmp_path):
    args = [
        main_config, '--work-dir',
        str(tmp_path), '--no-validate', '--cfg-options', *tiny,
        'default_hooks.checkpoint.by_epoch=False',
        'default_hooks.checkpoint.interval=2',
        'default_hooks.checkpoint.save_best=None'
    ]
    monkeypatch.setattr(sys, 'argv', ['train.py', *args])
    load_tool('train').main()
    for name in 'iter_2', 'iter_4':
        path = tmp_path / f'{name}.pth'
        assert run_tool('train', args[0], '--resume', path, *args[1:]) == (
            f'train.py: error: {path} was saved in the middle of an epoch '
            '(checkpoint.by_epoch=False), from which no training can resume '
            'exactly: resume from the end of an epoch, or start from its '
            'weights by load_from.')


def apply_args(load_tool, monkeypatch, args):
    """Return the config that train.py would run."""
    tool = load_tool('train')
    monkeypatch.setattr(sys, 'argv', ['train.py', *args])
    parsed = tool.parse_args()
    cfg = launch.load_runner_config(parsed)
    tool.apply_args(cfg, parsed)
    return cfg


def test_arguments_replace_what_the_config_says(load_tool, monkeypatch,
                                                main_config, tmp_path):

    def run(*args):
        return apply_args(load_tool, monkeypatch,
                          [main_config, '--work-dir',
                           str(tmp_path), *args])

    seeds = ['--cfg-options', 'randomness.seed=1', 'randomness.other=2']
    assert run(*seeds).randomness == dict(seed=1, other=2)
    cfg = run('--seed', '3', '--deterministic', '--no-validate', *seeds)
    assert cfg.randomness == dict(seed=3, other=2, deterministic=True)
    assert not cfg.val_cfg and not cfg.val_dataloader and not cfg.val_evaluator
    # with nothing to resume
    tsm = str(tmp_path / 'tsm.pth')
    torch.save({}, tsm)
    cfg = run('--resume', '--cfg-options', f'load_from={tsm}')
    assert cfg.load_from == tsm and not cfg.resume
    # as MMEngine has them
    cfg = run('--cfg-options', 'compile=True', 'efficient_conv_bn_eval=model',
              'activation_checkpointing=backbone.layer1')
    assert cfg.compile is True and cfg.efficient_conv_bn_eval == 'model'


@pytest.mark.parametrize(('args', 'message'), [
    (['{config}', '--resume', '{config}'], '.* is not a checkpoint, .*'),
    (['{config}', '--launcher', 'slurm', '--cfg-options', 'log_level=INFO'
      ], r'--launcher slurm, but SLURM_PROCID is not set: .*'),
    (['{config}', '--cfg-options', 'train_dataloader.batch_size=9'
      ], r'train_dataloader has no batch: 8 clips .* a batch of 9.'),
    (['{config}', '--cfg-options', 'log_level.0=INFO'], '--cfg-options .*'),
    (['{config}', '--cfg-options', 'param_scheduler.0.begin=3'],
     r'param_scheduler\[0\] begins after 3 epochs, but .*max_epochs=1: .*'),
])
def test_bad_input_is_one_line(run_tool, main_config, tiny, args, message):
    args = [arg.format(config=main_config) for arg in args]
    if '--cfg-options' in args:
        at = args.index('--cfg-options') + 1
        args[at:at] = tiny
    code = run_tool('train', *args)
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


@pytest.mark.parametrize(('script', 'usage'), [
    ('dist_train', 'dist_train.sh CONFIG GPUS'),
    ('dist_test', 'dist_test.sh CONFIG CHECKPOINT GPUS'),
    ('slurm_train', 'slurm_train.sh PARTITION JOB_NAME CONFIG'),
    ('slurm_test', 'slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT'),
])
def test_launcher_without_arguments_tells_its_usage(repo, script, usage):
    done = subprocess.run([repo / f'tools/{script}.sh'],
                          capture_output=True,
                          text=True)
    assert done.returncode != 0 and f'usage: {usage}' in done.stderr
