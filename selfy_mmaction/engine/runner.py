"""From a config to a runner: checks of the input, processes, hooks."""
import ctypes
import errno
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from multiprocessing.queues import Queue

import torch
from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import get_worker_info

from .checks import check_dataloader, check_lists, check_schedule
from .launch import RANK_VARIABLES, hide_details


class _QuietRunner(Runner):
    """MMEngine's runner with less on the terminal."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger before it is first used."""
        logger = super().build_logger(*args, **kwargs)
        hide_details(logger)
        return logger


def build_runner(cfg: Config, stages: Sequence[str]) -> Runner:
    """Check the input and build the runner, in processes that are connected.

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
    # More processes than cores may be meant where the disk is slow.
    warnings.filterwarnings('ignore', 'This DataLoader will create')
    # Other configs do not have them.
    default_hooks = cfg.setdefault('default_hooks', {})
    for name, kind in (('bad_clips', 'BadClipsHook'), ('check_weights',
                                                       'CheckWeightsHook'),
                       ('schedule', 'ScheduleHook')):
        default_hooks.setdefault(name, dict(type=kind))
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return _QuietRunner.from_cfg(cfg)


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


def connect_processes(cfg: Config) -> None:
    """Connect the processes that a launcher has started, if there is one.

    Args:
        cfg (Config): The config, with ``launcher``; changed where there is no
            accelerator.

    Raises:
        ValueError: If they cannot be connected.
    """
    if cfg.launcher == 'none':
        return
    # about 1 x 1 convolutions, whose layout is the same either way
    warnings.filterwarnings('ignore', 'Grad strides do not match')
    # MMEngine sets it
    warnings.filterwarnings('ignore', '`broadcast_buffers` is deprecated')
    _end_with_launcher()
    device = get_device()
    if device == 'cpu':
        return _connect_on_cpu(cfg)
    check_num_processes(
        int(os.environ.get('LOCAL_WORLD_SIZE', 1)), device,
        torch.cuda.device_count())
    env = cfg.get('env_cfg') or {}
    # in the order of MMEngine's runner, which finds it done
    set_multi_processing(**env.get('mp_cfg', {}), distributed=True)
    init_dist(cfg.launcher, **env.get('dist_cfg', dict(backend='nccl')))


def check_num_processes(processes: int, device: str, gpus: int) -> None:
    """Raise unless each process of this machine can have its own device.

    Args:
        processes (int): Their number.
        device (str): MMEngine's name of the kind of device.
        gpus (int): Number of CUDA's devices.
    """
    if device == 'mps':
        raise ValueError('--launcher: PyTorch connects no processes on MPS: '
                         'leave it out, to run in one process.')
    if device == 'cuda' and processes > gpus:
        raise ValueError(
            f'{processes} processes were started on a machine with {gpus} '
            f'GPUs: start at most {gpus}, or hide the GPUs to run on the CPU '
            '(CUDA_VISIBLE_DEVICES=).')


def _end_with_launcher() -> None:
    """End this process when torchrun is killed.

    Otherwise it would continue to train, and write into the folder of the
    next start.
    """
    if 'TORCHELASTIC_RUN_ID' in os.environ and sys.platform == 'linux':
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def _connect_on_cpu(cfg: Config) -> None:
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
