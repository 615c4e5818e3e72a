"""What lets a run go on in spite of bad clips, kills and full disks.

The configs name the hooks and the backend, so they work with any tool.
"""
import os
import os.path as osp
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
from mmaction.registry import HOOKS
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed

from ..datasets.loading import BadClips, SeededPipeline, clip_name, guard
from ..datasets.scan import read_sample, scan


@HOOKS.register_module()
class BadClipsHook(Hook):
    """Skips clips that cannot be read in training, and names them in tests.

    In training, another clip takes the place of a bad one, which is reported
    once, in the log and in ``bad_clips.txt`` next to it. Validation and tests
    end with the name of the first bad clip: without it, their accuracies
    would be those of another list.

    Args:
        max_share (float): The share of bad clips that is tolerated. More end
            the training. Defaults to 0.05.
    """

    def __init__(self, max_share: float = 0.05) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError('default_hooks.bad_clips.max_share should be '
                             f'from 0 to 1, but got {max_share}.')
        self.max_share = max_share

    def before_train(self, runner: Runner) -> None:
        """Let the training data skip bad clips."""
        dataset = runner.train_dataloader.dataset
        self.bad_clips = BadClips(
            osp.join(runner.log_dir, 'bad_clips.txt'), len(dataset),
            self.max_share)
        self.reported = set()
        guard(dataset, self.bad_clips.add)

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Report what the data loading processes found."""
        for name, reason in self.bad_clips.read().items():
            if name not in self.reported:
                self.reported.add(name)
                runner.logger.warning(f'{name} {reason}: skipped.')

    def after_train(self, runner: Runner) -> None:
        """Say where the bad clips are listed."""
        if self.reported:
            runner.logger.warning(
                f'{len(self.reported)} clips were skipped, since they cannot '
                f'be read: see {self.bad_clips.path}.')

    def before_val(self, runner: Runner) -> None:
        """Let a validation end at a bad clip."""
        guard(runner.val_dataloader.dataset, _refuse)

    def before_test(self, runner: Runner) -> None:
        """Let a test end at a bad clip."""
        guard(runner.test_dataloader.dataset, _refuse)


def _refuse(name: str, reason: str) -> NoReturn:
    raise ValueError(f'{name} {reason}. tools/check_data.py finds all such '
                     'clips, tools/test.py --skip-bad leaves them out.')


class LeaveOutHook(Hook):
    """Tests without the clips that cannot be read, and says so.

    The accuracies are named ``partial_...``, and a dump cannot be averaged
    with others.
    """

    # after the hook that refuses bad clips
    priority = 'LOW'

    def before_test(self, runner: Runner) -> None:
        """Find the bad clips, and take them from the test data."""
        cfg = runner.cfg.test_dataloader
        dataset = runner.test_dataloader.dataset
        runner.logger.info(f'Trying to read {len(dataset)} clips.')
        found = scan(
            dataset,
            # each process its share
            range(runner.rank, len(dataset), runner.world_size),
            read_sample,
            max(cfg.get('num_workers', 0), 1))
        bad = {}
        for part in all_gather_object(
            {i: reason for i, reason in found if reason}):
            bad.update(part)
        if not bad:
            return
        for i in sorted(bad):
            name = clip_name(dataset.get_data_info(i))
            runner.logger.warning(f'{name} {bad[i]}: left out.')
        runner.logger.warning(
            f'{len(bad)} of {len(dataset)} clips are left out, since they '
            'cannot be read: the accuracies are partial.')
        rest = [i for i in range(len(dataset)) if i not in bad]
        if not rest:
            raise ValueError(f'none of the {len(bad)} clips of '
                             f'{dataset.ann_file} can be read.')
        dataset.get_subset_(rest)
        # PackActionInputs keeps it for the dump.
        dataset.pipeline.transforms.insert(0, partial(dict, left_out=len(bad)))
        runner.test_loop.dataloader = runner.build_dataloader(
            dict(cfg, dataset=dataset), runner.seed)
        for metric in runner.test_evaluator.metrics:
            if metric.prefix:
                metric.prefix = f'partial_{metric.prefix}'


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a training that was killed and resumed equal one that was not.

    MMEngine's checkpoints hold no state of random generators, and those of
    data loading processes are out of reach. So all are seeded at the start of
    each epoch, by the seed and the number of the epoch.

    Data sets in a wrapper such as RepeatDataset, which reads a clip several
    times an epoch, and training by iterations are left as they are.
    """

    # after the hooks that load, and those that save
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Seed the clips, and make up for a validation that was cut short."""
        loop = runner.train_loop
        dataset = loop.dataloader.dataset
        self.pipeline = None
        if (isinstance(loop, EpochBasedTrainLoop)
                and isinstance(dataset, BaseDataset)):
            self.pipeline = SeededPipeline(dataset.pipeline, runner.seed)
            dataset.pipeline = self.pipeline
        # A checkpoint is saved before its validation, which may choose it as
        # the best one. Nobody knows whether it came to that.
        if (loop.epoch and runner.val_loop and loop.epoch >= loop.val_begin
                and (loop.epoch % loop.val_interval == 0
                     or loop.epoch == loop.max_epochs)):
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the data loading processes the epoch."""
        if self.pipeline:
            self.pipeline.epoch.fill_(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          *args, **kwargs) -> None:
        """Seed this process, for dropout."""
        # Not earlier: the first iterator of a data loader draws a number.
        if self.pipeline and batch_idx == 0:
            seeds = np.random.SeedSequence([runner.seed, runner.epoch])
            set_random_seed(int(seeds.generate_state(1)[0]))


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Writes files whole or not at all: MMEngine's overwrites in place.

    A process that is killed, or a full disk, leaves at most a ``.partial``
    file behind, and what was there before.
    """

    def put(self, obj: bytes, filepath: os.PathLike) -> None:
        """Write bytes to a file.

        Raises:
            OSError: If they cannot be written.
        """
        unfinished = f'{filepath}.partial'
        try:
            super().put(obj, unfinished)
            # Else a machine that loses power may have the name first.
            with open(unfinished, 'rb') as file:
                os.fsync(file)
            os.replace(unfinished, filepath)
        except OSError as error:
            Path(unfinished).unlink(missing_ok=True)
            raise OSError(
                f'could not write {filepath}: {error.strerror}. Earlier '
                'checkpoints are whole: make room and continue with --resume.'
            ) from error
