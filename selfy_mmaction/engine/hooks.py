"""Hooks: checks, bad clips and seeding during a run.

The configs name those that are registered; the tools add the others.
"""
import math
import operator
import os.path as osp
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import numpy as np
from mmaction.registry import HOOKS
from mmaction.structures import ActionDataSample
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import (
    BaseLoop,
    EpochBasedTrainLoop,
    Runner,
    set_random_seed,
)
from torch.utils.data import Dataset, Subset

from ..datasets.bad_clips import (
    BadClips,
    base_datasets,
    catch_bad_clips,
    clip_name,
    find_bad_clips,
)
from ..datasets.transforms import SeededPipeline
from .checkpoint import check_start, check_state_dict, get_state_dict
from .checks import check_frames
from .schedules import ScheduleHook


@HOOKS.register_module()
class BadClipsHook(Hook):
    """Skips clips that cannot be read in training, and names them in tests.

    In training, another clip replaces a bad one, which is reported once, in
    the log and in ``bad_clips.txt`` next to it. Validation and tests stop
    with the name of the first bad clip: without it, their accuracies would be
    those of another list.

    Args:
        max_share (float): The tolerated share of bad clips. With more, the
            training stops. Defaults to 0.05.
    """

    def __init__(self, max_share: float = 0.05) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError('default_hooks.bad_clips.max_share should be '
                             f'from 0 to 1, but got {max_share}.')
        self.max_share = max_share

    def before_train(self, runner: Runner) -> None:
        """Make the training data skip bad clips."""
        dataset = runner.train_dataloader.dataset
        self.bad_clips = BadClips(
            osp.join(runner.log_dir, 'bad_clips.txt'), len(dataset),
            self.max_share)
        self.reported = set()
        catch_bad_clips(dataset, self.bad_clips.add)

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Report the clips that the data loading processes found."""
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
        """Make a validation stop at a bad clip."""
        catch_bad_clips(runner.val_dataloader.dataset, name_bad_clip)

    def before_test(self, runner: Runner) -> None:
        """Make a test stop at a bad clip."""
        catch_bad_clips(runner.test_dataloader.dataset, name_bad_clip)


def name_bad_clip(name: str, reason: str) -> NoReturn:
    """Raise a ValueError that names a bad clip."""
    raise ValueError(f'{name} {reason}. tools/check_data.py finds all such '
                     'clips, tools/test.py --skip-bad leaves them out.')


class LeaveOutHook(Hook):
    """Leaves out the clips of a test that cannot be read, and reports them.

    The accuracies are named ``partial_...``, and a dump cannot be averaged
    with others.
    """

    # after the hook that refuses bad clips
    priority = 'LOW'

    def before_test(self, runner: Runner) -> None:
        """Find the bad clips, and remove them from the test data."""
        cfg = runner.cfg.test_dataloader
        dataset = runner.test_dataloader.dataset
        runner.logger.info(f'Trying to read {len(dataset)} clips.')
        found = find_bad_clips(
            dataset,
            # each process its share
            range(runner.rank, len(dataset), runner.world_size),
            operator.getitem,
            max(cfg.get('num_workers', 0), 1))
        bad = {}
        for part in all_gather_object({
                i: reason
                for i, reason in found if reason
        }):
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
            raise ValueError(f'none of the {len(bad)} clips of the test can '
                             'be read.')
        for inner in base_datasets(dataset):
            # PackActionInputs passes it on to the dump.
            inner.pipeline.transforms.insert(0,
                                             partial(dict, left_out=len(bad)))
        runner.test_loop.dataloader = runner.build_dataloader(
            dict(cfg, dataset=_ReadableClips(dataset, rest)), runner.seed)
        for metric in runner.test_evaluator.metrics:
            if metric.prefix:
                metric.prefix = f'partial_{metric.prefix}'


class _ReadableClips(Subset):
    """Some clips of a data set, or of a wrapper around data sets."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        super().__init__(dataset, indices)
        self.metainfo = dataset.metainfo

    def get_data_info(self, index: int) -> dict:
        """What the list says of a clip."""
        return self.dataset.get_data_info(self.indices[index])


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a training that was killed and resumed equal one that was not.

    MMEngine's checkpoints do not contain the state of random generators, and
    those of data loading processes are not accessible. So all are seeded at
    the start of each epoch, by the seed and the number of the epoch.

    Data sets in a wrapper such as RepeatDataset, which reads a clip several
    times an epoch, and iteration-based training are not changed.
    """

    # after the hooks that load, and those that save
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Seed the clips, and repeat a validation that was interrupted."""
        loop = runner.train_loop
        dataset = loop.dataloader.dataset
        self.pipeline = None
        if (isinstance(loop, EpochBasedTrainLoop)
                and isinstance(dataset, BaseDataset)):
            self.pipeline = SeededPipeline(dataset.pipeline, runner.seed)
            dataset.pipeline = self.pipeline
        # A checkpoint is saved before its validation, which may select it as
        # the best one. Whether that happened is unknown.
        if (loop.epoch and runner.val_loop and loop.epoch >= loop.val_begin
                and (loop.epoch % loop.val_interval == 0
                     or loop.epoch == loop.max_epochs)):
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the data loading processes the epoch."""
        if self.pipeline:
            self.pipeline.epoch.fill_(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, *args,
                          **kwargs) -> None:
        """Seed this process, for dropout."""
        # Not earlier: a data loader's first iterator draws a random number.
        if self.pipeline and batch_idx == 0:
            seeds = np.random.SeedSequence([runner.seed, runner.epoch])
            set_random_seed(int(seeds.generate_state(1)[0]))


class CheckNumbersHook(Hook):
    """Stops a run at the first loss or score that is not finite.

    A training never recovers from it, and the argmax of such scores is
    arbitrary.
    """

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: dict, outputs: dict) -> None:
        """Check the loss, which is on the CPU for the log anyway."""
        loss = outputs['loss'].item()
        if not math.isfinite(loss):
            rate = runner.optim_wrapper.get_lr()
            rate = next(iter(rate.values()))[0]
            raise ValueError(
                f'the loss is {loss} in epoch {runner.epoch + 1}, iteration '
                f'{runner.iter + 1}: lower optim_wrapper.optimizer.lr (the '
                f'rate is {rate:.2g} there) or set optim_wrapper.clip_grad, '
                'and resume from the last checkpoint.')

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: Sequence[ActionDataSample]) -> None:
        """Check the scores of a batch."""
        for sample in outputs:
            if not sample.pred_score.isfinite().all():
                raise ValueError(
                    f'scores are not finite in iteration {batch_idx + 1} of '
                    'the test: the weights are damaged or have diverged; give '
                    'an earlier checkpoint.')

    after_val_iter = after_test_iter


@HOOKS.register_module()
class CheckWeightsHook(Hook):
    """Refuses checkpoints that a training cannot start or resume from.

    MMEngine's runner loads what fits and logs a warning about the rest.
    Tests are not changed.
    """

    # before the EMA hook, which takes its weights from the checkpoint
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights before they are loaded."""
        # It is built by a training alone.
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            return
        model = _get_model(runner)
        source = runner.cfg.get('load_from') or 'the last checkpoint'
        if runner.cfg.get('resume'):
            self._check_epoch(runner, checkpoint, source)
            check_state_dict(model, get_state_dict(checkpoint), source)
        else:
            for message in check_start(model, checkpoint, source):
                runner.logger.info(message)

    def _check_epoch(self, runner: Runner, checkpoint: dict,
                     source: str) -> None:
        """Raise unless a checkpoint was saved at the end of an epoch.

        MMEngine would begin the epoch again, and count its iterations twice.
        """
        state = checkpoint['message_hub'].get('runtime_info', {})
        # At the end of an epoch, meta already counts it.
        if (isinstance(runner.train_loop, EpochBasedTrainLoop)
                and state.get('epoch') == checkpoint['meta'].get('epoch')):
            raise ValueError(
                f'{source} was saved in the middle of an epoch '
                '(checkpoint.by_epoch=False), from which no training can '
                'resume exactly: resume from the end of an epoch, or start '
                'from its weights by load_from.')


@HOOKS.register_module('RuntimeInfoHook')
class CheckedRuntimeInfoHook(RuntimeInfoHook):
    """Checks every run of a network with SELFY blocks, by any program.

    A runner in MMAction2's scope finds its hooks there first: this one is in
    all that have MMEngine's RuntimeInfoHook, which is one of its defaults.
    """

    def before_run(self, runner: Runner) -> None:
        """Check the clips, and add the hooks that check the rest."""
        super().before_run(runner)
        backbone = getattr(_get_model(runner), 'backbone', None)
        if not getattr(backbone, 'selfy', None):
            return
        for stage in 'train', 'val', 'test':
            # Only what runs has been built.
            if isinstance(getattr(runner, f'_{stage}_loop'), BaseLoop):
                check_frames(runner.cfg, stage)
        for kind in CheckWeightsHook, ScheduleHook:
            # behind this hook, so that it is called next
            if not any(isinstance(hook, kind) for hook in runner.hooks):
                runner.register_hook(kind())


class StrictLoadHook(Hook):
    """Refuses to test a checkpoint that does not fit the model exactly."""

    # after the EMA hook, which chooses the weights that are tested
    priority = 'LOWEST'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights before they are loaded."""
        check_state_dict(
            _get_model(runner), get_state_dict(checkpoint),
            runner.cfg.load_from)


def _get_model(runner: Runner) -> BaseModel:
    """The model of a runner, without a wrapper."""
    wrapped = is_model_wrapper(runner.model)
    return runner.model.module if wrapped else runner.model
