"""Schedules of rates that follow the config, also when a run is resumed."""
import warnings
from collections.abc import Iterator, Sequence

from mmaction.registry import HOOKS, PARAM_SCHEDULERS
from mmengine.hooks import Hook
from mmengine.optim import (
    MultiStepLR,
    OptimWrapper,
    OptimWrapperDict,
    _ParamScheduler,
)
from mmengine.optim.scheduler.param_scheduler import INF
from mmengine.runner import EpochBasedTrainLoop, Runner

# What schedulers count; everything else in their state is a setting. The base
# values are in the groups of the optimizer, too.
_COUNTED = {
    'last_step', '_global_step', '_last_value', 'base_values', 'best',
    'num_bad_epochs', 'cooldown_counter'
}


@PARAM_SCHEDULERS.register_module()
class RelativeMultiStepLR(MultiStepLR):
    """MMEngine's MultiStepLR with milestones that follow ``max_epochs``.

    Args:
        optimizer (OptimWrapper): The optimizer.
        milestones (Sequence[float]): Shares of the steps from ``begin`` to
            ``end``, from 0 to 1.
        begin (int): The first step. Defaults to 0.
        end (int): The step after the last; MMEngine's runner sets it to the
            end of the training if the config does not.
    """

    def __init__(self,
                 optimizer: OptimWrapper,
                 milestones: Sequence[float],
                 *,
                 begin: int = 0,
                 end: int,
                 **kwargs) -> None:
        if not all(0 <= share <= 1 for share in milestones):
            raise ValueError('milestones of RelativeMultiStepLR are shares of '
                             f'the training, from 0 to 1, but got {milestones}'
                             ': MultiStepLR takes epochs.')
        steps = [round(share * (end - begin)) for share in milestones]
        super().__init__(
            optimizer, milestones=steps, begin=begin, end=end, **kwargs)

    @classmethod
    def build_iter_from_epoch(cls, *, milestones: Sequence[float],
                              epoch_length: int,
                              **kwargs) -> 'RelativeMultiStepLR':
        """Build one that counts iterations; MMEngine would scale shares."""
        return super().build_iter_from_epoch(
            milestones=[share / epoch_length for share in milestones],
            epoch_length=epoch_length,
            **kwargs)


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Makes the rates of a training those that its config describes.

    MMEngine does not scale the peak of OneCycleLR with the batch size, and
    restores the schedulers of a checkpoint over those of the config. With
    several optimizers nothing is changed.
    """

    # before the hooks that log the rates
    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Check and scale a schedule that starts at the first step."""
        schedulers = _schedulers(runner)
        if schedulers is None:
            return
        loader = runner.train_dataloader
        # MMEngine runs epochs without a batch silently.
        if len(loader) == 0:
            raise ValueError(
                f'train_dataloader has no batch: {len(loader.dataset)} clips '
                f'over {runner.world_size} processes are fewer than a batch '
                f'of {loader.batch_size}.')
        scale = runner.auto_scale_lr or {}
        if scale.get('enable'):
            ratio = (
                runner.world_size * loader.batch_size /
                scale['base_batch_size'])
            for scheduler in schedulers:
                if hasattr(scheduler, 'eta_max'):
                    _scale_peak(scheduler, ratio)
        for message in _find_misfits(runner):
            runner.logger.warning(message)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Let a resumed training go on with the schedule of the config."""
        if not runner.cfg.get('resume') or _schedulers(runner) is None:
            return
        source = runner.cfg.get('load_from') or 'the last checkpoint'
        changes = [*_loop_changes(runner, checkpoint)]
        rates = [*_rate_changes(runner, checkpoint)]
        if rates:
            _replace_schedule(runner, checkpoint, source)
        if changes or rates:
            runner.logger.warning(
                f'The config trains otherwise than {source} was trained '
                f'({", ".join(changes + rates)}): from here on the rates are '
                'those of the config, as if it had been used from the start. '
                'To begin a new training with these weights, give them as '
                'load_from instead of resuming.')


def _schedulers(runner: Runner) -> list[_ParamScheduler] | None:
    """The schedulers of a training, None if it has several optimizers, and
    where nothing is trained."""
    wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers or []
    trains = isinstance(wrapper, OptimWrapper)
    if not trains or isinstance(wrapper, OptimWrapperDict):
        return None
    return schedulers


def _scale_peak(scheduler: _ParamScheduler, ratio: float) -> None:
    """Scale the rates of a OneCycleLR, of which none was used yet."""
    scheduler.base_values = [ratio * x for x in scheduler.base_values]
    keys = ['initial_lr', 'max_lr', 'min_lr']
    if scheduler.last_step >= 0:  # it has set the rate of the first step
        keys.append('lr')
    for group in scheduler.optimizer.param_groups:
        group.update({key: ratio * group[key] for key in keys})


def _find_misfits(runner: Runner) -> Iterator[str]:
    """Schedulers that are made for another number of steps."""
    for i, scheduler in enumerate(_schedulers(runner)):
        name = f'param_scheduler[{i}]'
        unit = 'epochs' if scheduler.by_epoch else 'iterations'
        last = runner.max_epochs if scheduler.by_epoch else runner.max_iters
        end = min(scheduler.end, last)
        span = end - scheduler.begin
        length = getattr(scheduler, 'total_steps', span)
        if length < span:  # MMEngine would raise there
            raise ValueError(
                f'{name} is made for {length} {unit}, but is used '
                f'for {span}: leave out its total_steps.')
        period = getattr(scheduler, 'T_max', span)
        if period < span:
            yield (f'{name} is used for {span} {unit}: after T_max={period} '
                   'the rate rises again.')
        length = max(length, period, *getattr(scheduler, 'milestones', ()))
        length = max(scheduler.begin + length, scheduler.end % INF)
        if length > last:
            yield (f'{name} is made for {length} {unit}, but the training '
                   f'ends after {last}: its last rates are not reached.')


def _loop_changes(runner: Runner, checkpoint: dict) -> Iterator[str]:
    """What is other in the length of a training."""
    info = checkpoint['message_hub'].get('runtime_info', {})
    epochs, steps = info.get('max_epochs'), info.get('max_iters')
    if not (epochs and steps):
        return
    counts = [('train_cfg.max_iters', steps, runner.max_iters)]
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        counts = [('train_cfg.max_epochs', epochs, runner.max_epochs),
                  ('iterations per epoch', steps // epochs,
                   len(runner.train_dataloader))]
    for name, old, new in counts:
        if old != new:
            yield f'{name} {old} -> {new}'


def _rate_changes(runner: Runner, checkpoint: dict) -> Iterator[str]:
    """What is other in the schedulers and the groups of the optimizer."""
    schedulers = _schedulers(runner)
    saved = checkpoint.get('param_schedulers', [])
    if len(saved) != len(schedulers):
        yield f'param_scheduler has {len(saved)} -> {len(schedulers)} parts'
    for i, (old, new) in enumerate(zip(saved, schedulers, strict=False)):
        found = _compare(old, new.state_dict(), _COUNTED)
        # what follows from the settings, such as phases
        public = {key: found[key] for key in found if key[0] != '_'}
        for key, change in (public or found).items():
            yield f'param_scheduler[{i}].{key}{change}'
    scheduled = {'params', *(scheduler.param_name for scheduler in schedulers)}
    groups = {}
    for old, new in zip(
            checkpoint.get('optimizer', {}).get('param_groups', []),
            runner.optim_wrapper.optimizer.param_groups,
            strict=False):
        groups = _compare(old, new, scheduled) | groups
    for key, change in groups.items():
        yield f'optimizer.{key}{change}'


def _compare(old: dict, new: dict, left_out: set[str]) -> dict[str, str]:
    """The settings in both that differ, and how, if it can be said shortly."""
    found = {}
    for key in sorted(old.keys() & new.keys() - left_out):
        before, after = _plain(old[key]), _plain(new[key])
        if before != after:
            change = f' {before} -> {after}'
            found[key] = change if len(change) < 50 else ''
    return found


def _plain(value: object) -> object:
    """A setting, comparable with one that was in a file."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in sorted(value.items())}
    return getattr(value, '__name__', value)


def _replace_schedule(runner: Runner, checkpoint: dict, source: str) -> None:
    """Put the state of the config's schedule at this step into a checkpoint.

    The schedulers of the runner, which are at the first step, are stepped as
    a training would have done.
    """
    schedulers, wrapper = _schedulers(runner), runner.optim_wrapper
    for scheduler in schedulers:
        if getattr(scheduler, 'need_val_args', False):
            raise ValueError(
                f'{source} was trained with another schedule than that of the '
                f'config, whose {type(scheduler).__name__} depends on earlier '
                'validations: keep the schedule, or start from the weights by '
                'load_from.')
    epoch, steps = checkpoint['meta']['epoch'], checkpoint['meta']['iter']
    length = len(runner.train_dataloader)
    counts_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    if counts_epochs:
        steps = epoch * length  # with the batch size of the config
    with warnings.catch_warnings():
        # of steps without one of the optimizer
        warnings.simplefilter('ignore')
        for step in range(1, steps + 1):
            for scheduler in schedulers:
                if not scheduler.by_epoch or (counts_epochs
                                              and step % length == 0):
                    scheduler.step()
    checkpoint['param_schedulers'] = [s.state_dict() for s in schedulers]
    if 'optimizer' in checkpoint:
        saved, state = checkpoint['optimizer'], wrapper.state_dict()
        for old, new in zip(
                saved['param_groups'], state['param_groups'], strict=False):
            old.update({k: v for k, v in new.items() if k != 'params'})
        if 'base_param_settings' in state:
            saved['base_param_settings'] = state['base_param_settings']
