"""From a command line to a config: arguments, settings, logging.

What takes long to import is imported where it is needed: ``--help`` is quick.
"""
import argparse
import contextlib
import logging
import os
import os.path as osp
import sys
from collections.abc import Iterator
from typing import NoReturn, TextIO

from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger

from ..files import printable
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
        hide_details(MMLogger.get_current_instance())
        yield stdout


def hide_details(logger: logging.Logger) -> None:
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
    if record.levelno >= logging.WARNING:
        return True
    # The environment, the config and the hooks take hundreds of lines; the
    # networks have no SyncBatchNorm.
    return '\n' not in text.strip() and 'SyncBatchNorm' not in text


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
    if options:
        from .checks import check_options
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
