"""From a command line to a runner: arguments, configs and processes."""
import argparse
import contextlib
import ctypes
import errno
import logging
import os
import os.path as osp
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.queues import Queue
from typing import NoReturn, TextIO

import torch
from mmaction.registry import RUNNERS
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch.utils.data import get_worker_info

from ..files import printable
from .checks import (
    check_dataloader,
    check_lists,
    check_options,
    check_schedule,
)
from .errors import TRACEBACK, describe_error

# Variables with the rank, the number of processes and the local rank.
RANK_VARIABLES = dict(
    pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE',
         'OMPI_COMM_WORLD_LOCAL_RANK'))


class ArgumentParser(argparse.ArgumentParser):
    """The parser of a tool: it has ``--traceback``, see `one_line_errors`.

    Args:
        description (str): What the tool does; its lines are kept.
    """

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument(
            TRACEBACK,
            action='store_true',
            help='show the traceback of an error, not only its message')

    def error(self, message: str) -> NoReturn:
        """Report wrong arguments in one line and exit."""
        self.exit(
            2, f'{self.prog}: error: {message} '
            '(--help lists the arguments)\n')


@contextlib.contextmanager
def log_to_stderr() -> Iterator[TextIO]:
    """Keep standard output for a tool's results: MMEngine logs there.

    Yields:
        TextIO: Standard output.
    """
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        calm(MMLogger.get_current_instance())
        yield stdout


def calm(logger: logging.Logger) -> None:
    """Show only messages for users on the terminal; the log file has all."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(_concerns_user)


def _concerns_user(record: logging.LogRecord) -> bool:
    """Whether to show a message, which is also made safe for a terminal."""
    text = record.getMessage()
    # names in it may come from a file
    record.msg = '\n'.join(map(printable, text.split('\n')))
    record.args = ()
    # The environment, the config and the hooks take hundreds of lines.
    return record.levelno >= logging.WARNING or '\n' not in text.strip()


class _CalmRunner(Runner):
    """MMEngine's runner with less on the terminal."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger before it is first used."""
        logger = super().build_logger(*args, **kwargs)
        calm(logger)
        return logger


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the option that changes a config."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_SettingsAction,
        default={},
        metavar='KEY=VALUE',
        help='settings that replace those of the config, e.g. '
        'train_dataloader.batch_size=4 or model.backbone.pretrained=None')


class _SettingsAction(DictAction):

    def __call__(self, parser, namespace, values, option_string=None):
        for value in values:
            if '=' not in value:
                parser.error(f'{option_string}: {value} is not KEY=VALUE.')
        super().__call__(parser, namespace, values, option_string)


def add_runner_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every tool that starts a runner."""
    add_config_options(parser)
    parser.add_argument(
        '--work-dir',
        help='folder of logs and checkpoints; ./work_dirs/CONFIG by default')
    parser.add_argument(
        '--launcher',
        choices=['none', *RANK_VARIABLES],
        default='none',
        help='what started the processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(path: str, options: dict) -> Config:
    """Load a config and change some of its settings."""
    if not osp.isfile(path):
        raise FileNotFoundError(f'config {path} does not exist.')
    try:
        cfg = Config.fromfile(path)
    # A config is Python, which may raise anything.
    except Exception as error:
        raise ValueError(f'config {path} cannot be read: '
                         f'{describe_error(error)}') from error
    if 'model' not in cfg:
        raise ValueError(f'config {path} has no model: give one with a model, '
                         'such as those in configs/.')
    check_options(options, cfg)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError) as error:
        raise ValueError(f'--cfg-options {options}: {error}') from error
    return cfg


def load_runner_config(args: argparse.Namespace) -> Config:
    """Load the config of a tool that starts a runner."""
    cfg = load_config(args.config, args.cfg_options)
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{name}'
    cfg.launcher = args.launcher
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return cfg


def build_runner(cfg: Config, stages: Sequence[str]) -> Runner:
    """Check the input, set up the processes and build the runner.

    Args:
        cfg (Config): The config, with ``work_dir`` and ``launcher``.
        stages (Sequence[str]): Which of 'train', 'val' and 'test' will run.
    """
    end_where_batches_are_lost()
    for stage in stages:
        check_dataloader(cfg, stage)
        check_lists(cfg, stage)
    if 'train' in stages:
        check_schedule(cfg)
    try:
        os.makedirs(cfg.work_dir, exist_ok=True)
    except OSError as error:
        raise OSError(
            f'work_dir {cfg.work_dir} cannot be created '
            f'({error.strerror}): give another --work-dir.') from error
    # On a full disk each log message would print a traceback; only files that
    # matter should end a run.
    logging.raiseExceptions = False
    if cfg.launcher != 'none':
        # about 1 x 1 convolutions, whose layout is the same either way
        warnings.filterwarnings('ignore', 'Grad strides do not match')
        # MMEngine sets it
        warnings.filterwarnings('ignore', '`broadcast_buffers` is deprecated')
        end_with_launcher()
        if get_device() == 'cpu':
            init_cpu_processes(cfg)
        else:
            check_num_processes(
                int(os.environ.get('LOCAL_WORLD_SIZE', 1)),
                torch.cuda.device_count())
    # Other configs do not have them.
    default_hooks = cfg.setdefault('default_hooks', {})
    default_hooks.setdefault('bad_clips', dict(type='BadClipsHook'))
    default_hooks.setdefault('check_weights', dict(type='CheckWeightsHook'))
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return _CalmRunner.from_cfg(cfg)


def check_num_processes(processes: int, gpus: int) -> None:
    """Raise unless each process of this machine has its own GPU."""
    if processes > gpus:
        raise ValueError(
            f'{processes} processes were started on a machine with {gpus} '
            f'GPUs: start at most {gpus}, or hide the GPUs to run on the CPU '
            '(CUDA_VISIBLE_DEVICES=).')


def end_where_batches_are_lost() -> None:
    """End data loading processes that cannot pass on a batch.

    Python prints the error and continues: the run would wait for ever. The
    exit code tells it whether shared memory was full.
    """
    go_on = Queue._on_queue_feeder_error

    def end(error: Exception, batch: object) -> None:
        if get_worker_info() is None:  # not a data loader's queue
            return go_on(error, batch)
        if 'shared memory' in str(error):
            os._exit(errno.ENOSPC)
        go_on(error, batch)
        os._exit(1)

    Queue._on_queue_feeder_error = staticmethod(end)


def end_with_launcher() -> None:
    """End this process when torchrun is killed.

    Otherwise it would continue to train, and write into the folder of the
    next start.
    """
    if 'TORCHELASTIC_RUN_ID' in os.environ and sys.platform == 'linux':
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def init_cpu_processes(cfg: Config) -> None:
    """Connect the processes of a machine without GPU through gloo.

    MMEngine would set a CUDA device and pass it to the model's wrapper.
    """
    for name, variable in zip(
            RANK_VARIABLES['pytorch'], RANK_VARIABLES[cfg.launcher],
            strict=True):
        if variable not in os.environ:
            raise ValueError(
                f'--launcher {cfg.launcher}, but {variable} is not set: start '
                'with tools/dist_*.sh, tools/slurm_*.sh or mpirun.')
        os.environ[name] = os.environ[variable]
    if 'MASTER_ADDR' not in os.environ and cfg.launcher == 'slurm':
        hosts = subprocess.check_output(
            ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']],
            text=True)
        os.environ['MASTER_ADDR'] = hosts.split()[0]
    os.environ.setdefault('MASTER_PORT', '29500')
    torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None
    }
