"""Rates of trainings: resumed with other settings, scaled, of every length."""
import itertools
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

CLIPS = [dict(x=torch.ones(1) + i) for i in range(8)]
ONE_CYCLE = dict(
    type='OneCycleLR', eta_max=0.1, pct_start=0.3, convert_to_iter_based=True)
STEPS = dict(type='MultiStepLR', milestones=[1, 3])
SHARES = dict(type='RelativeMultiStepLR', milestones=[0.25, 0.75])
WARM_UP = [
    dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, convert_to_iter_based=True)
]


class Network(BaseModel):

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x, mode):
        return dict(loss=self.layer(torch.stack(x)).square().mean())


class Rates(Hook):
    """The rate of each step."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.of_step = []

    def before_train_iter(self, runner, *args, **kwargs):
        # as logged, and as used
        group, = runner.optim_wrapper.optimizer.param_groups
        assert runner.optim_wrapper.get_lr()['lr'][0] == group['lr']
        self.of_step.append(group['lr'])


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train a layer; return the rates of all steps and what was warned of."""
    # It starts compilers.
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    names = itertools.count()

    def run(schedule,
            length,
            batch_size=2,
            by_epoch=True,
            resume=None,
            lr=0.1,
            **settings):
        torch.manual_seed(0)
        rates = Rates()
        runner = Runner(
            model=Network(),
            work_dir=str(tmp_path / 'run'),
            experiment_name=f'{tmp_path.name}{next(names)}',
            train_dataloader=dict(
                batch_size=batch_size,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=CLIPS),
            train_cfg=dict(
                by_epoch=by_epoch,
                **{'max_epochs' if by_epoch else 'max_iters': length}),
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=lr, momentum=0.9)),
            param_scheduler=schedule,
            default_hooks=dict(
                checkpoint=dict(
                    type='CheckpointHook',
                    by_epoch=by_epoch,
                    interval=1 if by_epoch else 2),
                schedule=dict(type='ScheduleHook')),
            custom_hooks=[rates],
            randomness=dict(seed=0),
            default_scope='mmaction',
            load_from=resume and str(tmp_path / f'run/{resume}.pth'),
            resume=bool(resume),
            cfg=dict(resume=bool(resume), load_from=resume),
            **settings)
        warned = []
        runner.logger.warning = lambda text, *args: warned.append(text)
        runner.train()
        weights = [*runner.model.state_dict().values()]
        return rates.of_step, warned, weights

    return run


@pytest.mark.parametrize('old, new, said', [
    (dict(schedule=ONE_CYCLE, length=2), dict(schedule=ONE_CYCLE, length=4),
     'train_cfg.max_epochs 2 -> 4, param_scheduler[0].end 8 -> 16'),
    (dict(schedule=ONE_CYCLE,
          length=2), dict(schedule=ONE_CYCLE, length=4,
                          batch_size=1), 'iterations per epoch 4 -> 8'),
    (dict(schedule=STEPS, length=4),
     dict(schedule=dict(STEPS, milestones=[2, 3]), length=4), 'milestones'),
    (dict(schedule=SHARES, length=2), dict(schedule=SHARES,
                                           length=8), 'max_epochs 2 -> 8'),
    (dict(schedule=WARM_UP, length=3), dict(schedule=WARM_UP,
                                            length=5), 'T_max 8 -> 16'),
    (dict(schedule=WARM_UP[1:], length=3), dict(
        schedule=WARM_UP, length=3), 'param_scheduler has 1 -> 2 parts'),
    (dict(schedule=STEPS, length=4), dict(
        schedule=STEPS, length=4, lr=0.3), 'optimizer.initial_lr 0.1 -> 0.3'),
    (dict(schedule=[], length=3), dict(schedule=[], length=4,
                                       lr=0.3), 'optimizer.lr 0.1 -> 0.3'),
    (dict(schedule=dict(ONE_CYCLE, pct_start=0.5),
          length=4), dict(schedule=ONE_CYCLE, length=4), 'schedule_phases'),
])
def test_resumed_rates_are_those_of_the_new_schedule(train, old, new, said):
    whole, warned, _ = train(**new)
    assert not warned
    train(**old)
    rest, (warned, ), _ = train(**new, resume='epoch_2')
    assert rest and rest == whole[-len(rest):]
    assert warned.startswith('The config trains otherwise than epoch_2 ')
    assert said in warned and 'load_from' in warned


def test_iterations_are_resumed_with_another_schedule(train):
    schedule = dict(type='CosineAnnealingLR', by_epoch=False)
    whole, _, _ = train(schedule, 8, by_epoch=False)
    train(schedule, 4, by_epoch=False)
    rest, (warned, ), _ = train(schedule, 8, by_epoch=False, resume='iter_4')
    assert rest == whole[4:]
    assert '(train_cfg.max_iters 4 -> 8, param_scheduler[0].T_max ' in warned


@pytest.mark.parametrize('schedule', [ONE_CYCLE, STEPS, WARM_UP, []])
def test_the_same_schedule_is_resumed_without_a_word(train, schedule):
    whole, _, expected = train(schedule, 4)
    rest, warned, weights = train(schedule, 4, resume='epoch_2')
    assert rest == whole[8:] and not warned
    assert all(map(torch.equal, weights, expected))


def test_a_schedule_by_validations_cannot_be_replaced(train):
    train(STEPS, 2)
    plateau = dict(type='ReduceOnPlateauLR', monitor='loss')
    with pytest.raises(ValueError, match='ReduceOnPlateauLR depends on .* ke'):
        train(plateau, 4, resume='epoch_2')


def test_the_peak_is_scaled_with_the_batch(train):
    scale = dict(enable=True, base_batch_size=16)
    for schedule in ONE_CYCLE, STEPS:
        rates, scaled = (
            train(schedule, 3, auto_scale_lr=scale)[0]
            for scale in (None, scale))
        assert scaled == pytest.approx([rate / 8 for rate in rates])


@pytest.mark.parametrize('schedule, message', [
    (dict(ONE_CYCLE, total_steps=3), 'made for 12 iterations, .* after 8'),
    (dict(type='MultiStepLR', milestones=[1, 30]), 'made for 30 epochs, .* 2'),
    (dict(type='LinearLR', end=5), 'made for 5 epochs'),
    (dict(type='CosineAnnealingLR', T_max=1), 'after T_max=1 the rate rises'),
])
def test_another_length_is_said(train, schedule, message):
    _, (warned, ), _ = train(schedule, 2)
    assert message.split('.*')[0].strip() in warned


@pytest.mark.parametrize('schedule, message', [
    (dict(ONE_CYCLE, total_steps=1), 'made for 4 iterations, but is used for'),
    (dict(SHARES, milestones=[30, 40]), r'shares .* but got \[30, 40\]'),
])
def test_a_schedule_that_cannot_be_followed_ends_at_once(
        train, schedule, message):
    with pytest.raises((ValueError, TypeError), match=message):
        train(schedule, 2)


def test_every_config_follows_its_number_of_epochs(repo, train, tmp_path,
                                                   monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('data/mine').mkdir(parents=True)
    Path('data/mine/classes.txt').write_text('left\nright\n')
    schedules = {}
    for path in sorted((repo / 'configs').glob('*.py')):
        cfg = Config.fromfile(path)
        key = str((cfg.param_scheduler, cfg.optim_wrapper.optimizer.lr))
        schedules[key] = cfg
    assert len(schedules) > 5
    for cfg in schedules.values():
        lr = cfg.optim_wrapper.optimizer.lr
        for epochs in 10, 20:
            rates, warned, _ = train(cfg.param_scheduler, epochs, lr=lr)
            assert not warned
            peak = max(rates)
            assert max(rates[:len(rates) * 8 // 10]) == peak
            assert rates[-1] < 0.1 * peak
