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
from selfy_mmaction.engine.launch import check_num_processes


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


def test_terminal_shows_what_concerns_the_user(trained):
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
            command=[repo / 'tools/dist_train.sh'],
            NNODES='2',
            NODE_RANK=rank,
            PORT=free_port) for rank in '01'
    ]
    first, _ = [finish(node) for node in nodes]
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


def test_no_half_checkpoint_is_resumed(tmp_path):
    assert find_last_checkpoint(tmp_path) is None
    for epoch in 9, 10, 11:
        torch.save({'epoch': epoch}, tmp_path / f'epoch_{epoch}.pth')
    torch.save({}, tmp_path / 'best_acc_top1_epoch_10.pth')
    newest = tmp_path / 'epoch_11.pth'
    assert find_last_checkpoint(tmp_path) == str(newest)
    newest.write_bytes(newest.read_bytes()[:-10])
    assert find_last_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')


def test_the_number_says_which_checkpoint_is_the_last(tmp_path):
    for number, name in enumerate(
        ('epoch_10', 'epoch_9', 'epoch_2', 'iter_300')):
        torch.save({}, tmp_path / f'{name}.pth')
        os.utime(tmp_path / f'{name}.pth', (number, number))
    assert find_last_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')
    for epoch in 2, 9, 10:
        (tmp_path / f'epoch_{epoch}.pth').unlink()
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


def test_start_without_checkpoint_keeps_load_from(load_tool, monkeypatch,
                                                  main_config, tmp_path):
    tsm = str(tmp_path / 'tsm.pth')
    torch.save({}, tsm)
    cfg = apply_args(load_tool, monkeypatch, [
        main_config, '--resume', '--work-dir',
        str(tmp_path), '--cfg-options', f'load_from={tsm}'
    ])
    assert cfg.load_from == tsm and not cfg.resume


def apply_args(load_tool, monkeypatch, args):
    """Return the config that train.py would run."""
    tool = load_tool('train')
    monkeypatch.setattr(sys, 'argv', ['train.py', *args])
    parsed = tool.parse_args()
    cfg = launch.load_runner_config(parsed)
    tool.apply_args(cfg, parsed)
    return cfg


def test_seed_replaces_that_of_the_config(load_tool, monkeypatch, repo):
    config = str(repo / 'configs/tsm_r50_sthv1.py')
    seeds = ['--cfg-options', 'randomness.seed=1', 'randomness.other=2']
    cfg = apply_args(load_tool, monkeypatch, [config, *seeds])
    assert cfg.randomness == dict(seed=1, other=2)
    cfg = apply_args(load_tool, monkeypatch,
                     [config, '--seed', '3', '--deterministic', *seeds])
    assert cfg.randomness == dict(seed=3, other=2, deterministic=True)


def test_no_validate_drops_all_of_validation(load_tool, monkeypatch, repo):
    cfg = apply_args(load_tool, monkeypatch,
                     [str(repo / 'configs/tsm_r50_sthv1.py'), '--no-validate'])
    assert not cfg.val_cfg and not cfg.val_dataloader and not cfg.val_evaluator


@pytest.mark.parametrize(('args', 'message'), [
    (['no.py'], 'config no.py does not exist.'),
    (['{config}', '--resume', 'no.pth'], 'checkpoint no.pth does not exist.'),
    (['{config}', '--resume', '{config}'], '.* is not a checkpoint, .*'),
    (['{config}', '--cfg-options', 'model.backbone.num_segments=16'
      ], r'model.backbone.num_segments=16, but .*cls_head.num_segments=8: .*'),
    ([
        '{config}', '--cfg-options',
        'train_dataloader.dataset.pipeline.0.num_clips=4'
    ], r'train_dataloader samples 4 frames .*num_segments=8: .*'),
    (['{config}', '--cfg-options', 'val_dataloader.dataset.ann_file=no.txt'
      ], r'annotation file .*/no.txt of val_dataloader does not exist.'),
    (['{config}', '--launcher', 'slurm', '--cfg-options', 'log_level=INFO'
      ], r'--launcher slurm, but SLURM_PROCID is not set: .*'),
    (['{config}', '--cfg-options', 'model.cls_head.num_classes=3'
      ], r'.*sthv1_classes.txt names 174 classes, but the model has 3: .*'),
    (['{config}', '--cfg-options', 'train_dataloader.batch_size=9'
      ], r'train_dataloader has no batch: 8 clips .* a batch of 9.'),
    (['{config}', '--cfg-options', 'log_level.0=INFO'], '--cfg-options .*'),
])
def test_bad_input_is_one_line(run_tool, main_config, tiny, args, message):
    args = [arg.format(config=main_config) for arg in args]
    if '--cfg-options' in args:
        at = args.index('--cfg-options') + 1
        args[at:at] = tiny
    code = run_tool('train', *args)
    assert re.fullmatch(f'train.py: error: {message}', code)


@pytest.mark.skipif(torch.cuda.is_available(), reason='works on a GPU')
def test_amp_without_gpu_is_one_line(run_tool, main_config):
    code = run_tool('train', main_config, '--amp')
    assert code == 'train.py: error: --amp needs a GPU, and there is none.'


def test_setting_without_value_is_a_usage_error(run_tool, main_config, capsys):
    assert run_tool('train', main_config, '--cfg-options', 'seed') == 2
    assert '--cfg-options: seed is not KEY=VALUE' in capsys.readouterr().err


def test_error_of_a_process_has_no_traceback(repo, tool_env):
    done = subprocess.run([sys.executable, repo / 'tools/train.py', 'no.py'],
                          env=tool_env,
                          capture_output=True,
                          text=True)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.endswith(
        'train.py: error: config no.py does not exist.\n')
    assert 'Traceback' not in done.stderr


def test_more_processes_than_gpus_is_an_error():
    check_num_processes(2, gpus=2)
    with pytest.raises(ValueError, match='3 processes .* with 2 GPUs'):
        check_num_processes(3, gpus=2)


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
