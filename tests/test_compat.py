"""The repairs, each on the real thing: subprocesses, real checkpoints."""
import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR, OneCycleParamScheduler

import selfy_mmaction  # noqa: F401 (it extends what torch.load may read)

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(sysconfig.get_path('purelib'))


def python(*args, path=(), **kwargs):
    """Run a fresh Python that finds the packages in ``path`` first."""
    search = os.pathsep.join(map(str, [*path, ROOT]))
    env = dict(os.environ, PYTHONPATH=search, PYTHONWARNINGS='ignore')
    return subprocess.run([sys.executable, *args],
                          capture_output=True,
                          text=True,
                          env=env,
                          **kwargs)


@pytest.fixture
def site_without(tmp_path):
    """Makes a copy of site-packages, by links, that lacks some packages."""

    def make(*names):
        folder = tmp_path / 'site-packages'
        folder.mkdir()
        for entry in SITE.iterdir():
            if not entry.name.startswith(names + ('__editable__', )):
                (folder / entry.name).symlink_to(entry)
        return folder

    return make


# MMAction2's import


def test_models_import_after_ours_only():
    import mmaction
    if (Path(mmaction.__file__).parent / 'models/localizers/drn').exists():
        pytest.skip('this MMAction2 is whole')
    broken = python('-c', 'import mmaction.models')
    assert 'mmaction.models.localizers.drn' in broken.stderr
    repaired = python(
        '-c', 'import selfy_mmaction, sys;'
        'print(*sorted({"mmaction.models", "mmaction.datasets"}'
        ' & set(sys.modules)), "early");'
        'import mmaction.models; print(mmaction.models.TSMHead.__name__);'
        'mmaction.models.localizers.DRN()')
    # Our import is fast; the stub raises when it is used.
    assert repaired.stdout.split() == ['early', 'TSMHead']
    assert repaired.stderr.splitlines()[-1].startswith(
        'ImportError: this installation of MMAction2 lacks')


@pytest.mark.parametrize('kind', ['source', 'without DRN'])
def test_whole_installations_are_left_alone(tmp_path, kind):
    import mmaction
    copy = tmp_path / 'mmaction'
    shutil.copytree(
        Path(mmaction.__file__).parent,
        copy,
        ignore=shutil.ignore_patterns('.mim', '__pycache__'))
    init = copy / 'models' / 'localizers' / '__init__.py'
    if kind == 'source':
        drn = init.parent / 'drn' / 'drn.py'
        drn.parent.mkdir(exist_ok=True)
        drn.write_text('class DRN:\n    """The real one."""\n')
    else:
        init.write_text(init.read_text().replace('from .drn.drn import DRN\n',
                                                 '').replace(", 'DRN'", ''))
    run = python(
        '-c', 'import selfy_mmaction, sys, mmaction.models.localizers as m;'
        'name = "mmaction.models.localizers.drn.drn";'
        'print(getattr(sys.modules.get(name), "__file__", None))',
        path=[tmp_path])
    assert run.returncode == 0, run.stderr
    expected = str(drn) if kind == 'source' else 'None'
    assert run.stdout.strip() == expected


def test_without_mmaction_nothing_is_repaired(site_without):
    site = site_without('mmaction', 'mmengine', 'mmcv')
    run = python(
        '-S',
        '-c', 'import torch;'
        'before = set(torch.serialization.get_safe_globals());'
        'from selfy_mmaction.ops import stss;'
        'print(tuple(stss(torch.rand(1, 2, 3, 4, 4)).shape),'
        'set(torch.serialization.get_safe_globals()) - before)',
        path=[site])
    assert run.stdout.strip() == '(1, 2, 4, 4, 5, 9, 9) set()', run.stderr
    assert run.stderr == ''


@pytest.mark.parametrize('version, old', [('1.1.0', True), ('1.0.0rc1', True),
                                          ('0.24.1', True), ('1.10.0', False)])
def test_too_old_mmaction_is_one_line(tmp_path, version, old):
    folder = tmp_path / 'mmaction'
    folder.mkdir()
    (folder / '__init__.py').write_text('assert False, "mmcv, it thinks."')
    (folder / 'version.py').write_text(f"__version__ = '{version}'\n")
    run = python('-c', 'import selfy_mmaction', path=[tmp_path])
    assert run.returncode != 0
    last = run.stderr.splitlines()[-1]
    if old:
        assert last == (
            f'ImportError: MMAction2 {version} is installed, but '
            "selfy_mmaction needs 1.2.0: pip install 'mmaction2>=1.2.0' "
            "'mmcv-lite==2.1.0'; uninstall the present mmcv first.")
    else:
        assert 'mmcv, it thinks.' in last


def test_missing_mmcv_is_one_line(site_without):
    run = python(
        '-S', '-c', 'import selfy_mmaction', path=[site_without('mmcv')])
    assert run.returncode != 0
    assert run.stderr.splitlines()[-1] == (
        'ImportError: MMAction2 needs mmcv or mmcv-lite, and neither is '
        'installed: pip install mmcv-lite==2.1.0')


def test_too_new_mmcv_is_one_line(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text("__version__ = '2.2.1'\n")
    run = python('-c', 'import selfy_mmaction', path=[tmp_path])
    assert run.returncode != 0
    last = run.stderr.splitlines()[-1]
    assert last.startswith('ImportError: MMCV==2.2.1 is used but incompatible')
    assert '<2.2.0' in last and 'mmcv-lite' in last
    assert 'AssertionError' not in run.stderr


def test_the_file_api_of_mmaction_is_not_mentioned():
    use = 'from mmengine.fileio import FileClient; FileClient("disk")'
    plain = python('-c', use)
    assert plain.stdout.count('deprecated in future') == 2
    ours = python('-c', f'import selfy_mmaction; {use}')
    assert (ours.stdout, ours.stderr) == ('', '')


# Checkpoints of MMEngine's runner

RUN = '''
import sys
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
if 'plain' not in sys.argv:
    import selfy_mmaction
from mmengine.evaluator import BaseMetric, Evaluator


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, x, mode):
        if mode == 'predict':
            return self.fc(x)
        return dict(loss=self.fc(x).square().mean())


class Mean(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(s.mean()) for s in data_samples]

    def compute_metrics(self, results):
        import numpy as np
        return dict(mean=np.mean(results), count=np.int64(len(results)))


class ScalerHook(Hook):
    """Adds what AmpOptimWrapper saves; it is not to be had without a GPU."""

    def before_save_checkpoint(self, runner, checkpoint):
        optimizer = checkpoint.setdefault('optimizer', {})
        optimizer['loss_scaler'] = torch.amp.GradScaler('cpu').state_dict()

    def before_train(self, runner):
        print('resumed at', runner.iter)


def loader(seed):
    data = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed))
    return dict(
        batch_size=2, collate_fn=dict(type='default_collate'),
        dataset=[dict(x=x) for x in data],
        sampler=dict(type='DefaultSampler', shuffle=True))


resume = 'resume' in sys.argv
Runner(
    Model(), sys.argv[1], resume=resume,
    train_dataloader=loader(0), val_dataloader=loader(1),
    train_cfg=dict(by_epoch=True, max_epochs=2 + resume, val_interval=1),
    val_cfg=dict(), val_evaluator=Evaluator(Mean()),
    optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=.1, momentum=.9, nesterov=True),
        clip_grad=dict(max_norm=20)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=.1, by_epoch=False, end=3),
        dict(type='MultiStepLR', milestones=[1])],
    default_hooks=dict(
        logger=dict(type='LoggerHook', interval=1),
        checkpoint=dict(type='CheckpointHook', interval=1,
                        save_best='mean', rule='greater')),
    custom_hooks=[dict(type='EMAHook'), ScalerHook()],
).train()
'''


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    """What a run with every usual component leaves behind."""
    folder = tmp_path_factory.mktemp('runner')
    (folder / 'run.py').write_text(RUN)
    run = python('run.py', 'work', 'plain', cwd=folder)
    assert run.returncode == 0, run.stderr
    return folder / 'work'


def load(path, weights_only=True):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.load(path, weights_only=weights_only)


def test_runner_checkpoints_load_with_weights_only(work_dir):
    refused = python('-c',
                     f'import torch; torch.load("{work_dir}/epoch_2.pth")')
    assert 'UnpicklingError' in refused.stderr

    for path in [work_dir / 'epoch_2.pth', *work_dir.glob('best_*.pth')]:
        safe, full = load(path), load(path, weights_only=False)
        assert safe.keys() == full.keys()
        assert 'ema_state_dict' in safe
        assert safe['optimizer']['loss_scaler']['scale'] > 1
        assert_same(safe, full)


def assert_same(a, b):
    """Compare what two ways of reading one file give."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, HistoryBuffer):
        assert_same(vars(a), vars(b))
        assert a.statistics('mean') == b.statistics('mean')
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_runner_resumes(work_dir):
    resumed = python('run.py', 'work', 'resume', cwd=work_dir.parent)
    assert 'resumed at 6' in resumed.stdout, resumed.stderr
    assert (work_dir / 'epoch_3.pth').exists()


@pytest.mark.parametrize('strategy', ['cos', 'linear'])
def test_one_cycle_schedules_load(tmp_path, strategy):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.)
    schedule = OneCycleLR(
        optimizer, eta_max=1., total_steps=4, anneal_strategy=strategy)
    torch.save(schedule.state_dict(), tmp_path / 'x.pth')
    assert_same(load(tmp_path / 'x.pth'), schedule.state_dict())
    torch.save(Call(OneCycleParamScheduler, optimizer), tmp_path / 'call.pth')
    with pytest.raises(pickle.UnpicklingError):
        load(tmp_path / 'call.pth')


def test_checkpoints_from_numpy_1_load(tmp_path):
    path = tmp_path / 'old.pth'
    score = dict(scores=np.arange(3.), best=np.float64(.5))
    torch.save(score, path, _use_new_zipfile_serialization=False)
    pickled = path.read_bytes()
    assert b'numpy._core.multiarray' in pickled
    path.write_bytes(pickled.replace(b'numpy._core.', b'numpy.core.'))
    assert_same(load(path), score)


class Call:
    """Pickles as a call of a function, made when the pickle is read."""

    def __init__(self, function, *args):
        self.reduced = (function, args)

    def __reduce__(self):
        return self.reduced

    def __call__(self):
        """Only there for pickle, which wants a callable in first place."""


class Build(Call):
    """The same, and the result's state is set to the last argument."""

    def __reduce__(self):
        function, args = self.reduced
        return function, args[:-1], args[-1]


def attribute(obj, *names):
    for name in names:
        obj = Call(getattr, obj, name)
    return obj


def through_history_buffer(command):
    """From a method of HistoryBuffer to os.system, by getattr."""
    names = attribute(HistoryBuffer, 'min', '__globals__')
    modules = attribute(
        Call(attribute(names, 'get'), 'warnings'), 'sys', 'modules')
    return Call(
        attribute(Call(attribute(modules, 'get'), 'os'), 'system'), command)


HOSTILE = {
    'os.system':
    lambda command: Call(os.system, command),
    'subprocess':
    lambda command: Call(subprocess.getoutput, command),
    'eval':
    lambda command: Call(eval, f'__import__("os").system({command!r})'),
    'import':
    lambda command: Call(attribute(Call(__import__, 'os'), 'system'), command),
    'getattr through HistoryBuffer':
    through_history_buffer,
}


@pytest.fixture
def wrap(work_dir):
    """Hides an object in an otherwise valid runner checkpoint."""

    def put(obj, place):
        if place == 'bare':
            return obj
        checkpoint = load(work_dir / 'epoch_1.pth')
        if place == 'message_hub':
            history = checkpoint['message_hub']['log_scalars']['train/loss']
            history._statistics_methods = dict(min=obj)
        else:
            checkpoint['state_dict']['fc.bias'] = obj
        return checkpoint

    return put


@pytest.mark.parametrize('place', ['bare', 'message_hub', 'state_dict'])
@pytest.mark.parametrize('kind', HOSTILE)
def test_pickles_that_run_code_are_refused(tmp_path, wrap, kind, place):
    marker, path = tmp_path / 'marker', tmp_path / 'hostile.pth'
    torch.save(wrap(HOSTILE[kind](f'touch {marker}'), place), path)
    with pytest.raises(pickle.UnpicklingError):
        load(path)
    assert not marker.exists()
    # It would have run.
    load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize('obj, name', [
    (HistoryBuffer, '__init__'),
    (HistoryBuffer, '__subclasses__'),
    (HistoryBuffer, '_statistics_methods'),
    (HistoryBuffer, 'register_statistics'),
    (HistoryBuffer([1.], [1]), 'min'),
    (OneCycleParamScheduler, 'build_iter_from_epoch'),
    (torch.Size, 'count'),
    ('', 'join'),
])
def test_getattr_answers_for_nothing_else(tmp_path, obj, name):
    torch.save(attribute(obj, name), tmp_path / 'x.pth')
    with pytest.raises(pickle.UnpicklingError):
        load(tmp_path / 'x.pth')


@pytest.mark.parametrize('name', ['min', 'max', 'mean', 'current'])
def test_getattr_answers_for_the_statistics(tmp_path, name):
    torch.save(attribute(HistoryBuffer, name), tmp_path / 'x.pth')
    assert load(tmp_path / 'x.pth') is getattr(HistoryBuffer, name)


@pytest.mark.parametrize(
    'forged', [
        Call(np.ndarray, (1, ), 'O', bytes(range(8))),
        Call(np.ndarray, (1, ), 'f8', bytes(8)),
        Call(np.dtype, 'O'),
        Call(np.dtype, [('a', 'O')]),
        Call(type(np.dtype('f8'))),
    ],
    ids=[
        'ndarray of pointers', 'ndarray', 'object dtype', 'record dtype',
        'dtype class'
    ])
def test_object_pointers_cannot_be_forged(tmp_path, forged):
    torch.save(forged, tmp_path / 'x.pth')
    with pytest.raises(pickle.UnpicklingError):
        load(tmp_path / 'x.pth')


def test_flags_of_a_dtype_cannot_be_forged(tmp_path):
    # The last entry claims that the items are object pointers.
    lie = (3, '<', None, None, None, -1, -1, 63)
    torch.save(Build(np.dtype, 'f8', False, True, lie), tmp_path / 'x.pth')
    assert load(tmp_path / 'x.pth', weights_only=False).hasobject
    assert not load(tmp_path / 'x.pth').hasobject
    assert not np.dtype('f8').hasobject


# What MMEngine loads where this package is imported, and nothing else of it

LOAD = """
import sys
if 'late' in sys.argv:
    import mmengine.runner
import selfy_mmaction
assert ('mmengine.runner' in sys.modules) == ('late' in sys.argv)
from mmengine.runner import CheckpointLoader
for source in 'evil.pth', 'http://a.org/evil.pth', 'open-mmlab://evil':
    try:
        CheckpointLoader.load_checkpoint(source, 'cpu', logger='silent')
    except Exception as error:
        print(type(error).__name__)
"""
# onedl-mmengine has this function, and calls it instead of torch.load.
FALLS_BACK = """
def _safe_torch_load(file, map_location=None):
    try:
        return torch.load(file, map_location, weights_only=True)
    except Exception:
        return torch.load(file, map_location, weights_only=False)
"""


@pytest.fixture(scope='module')
def fork(tmp_path_factory):
    """A folder with a copy of MMEngine that loads as onedl-mmengine does."""
    import mmengine
    folder = tmp_path_factory.mktemp('fork')
    shutil.copytree(
        Path(mmengine.__file__).parent,
        folder / 'mmengine',
        ignore=shutil.ignore_patterns('__pycache__'))
    loaders = folder / 'mmengine/runner/checkpoint.py'
    loaders.write_text(
        loaders.read_text().replace('torch.load(', '_safe_torch_load(') +
        FALLS_BACK)
    return folder


@pytest.mark.parametrize('order', ['early', 'late'])
def test_mmengine_runs_no_code_in_files(tmp_path, monkeypatch, fork, order):
    for name in 'TORCH_HOME', 'MMENGINE_HOME':
        monkeypatch.setenv(name, str(tmp_path))
    hostile = Call(os.mkdir, str(tmp_path / 'marker'))
    # in the folder of downloads, too
    for folder in '.', 'checkpoints', 'hub/checkpoints':
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        torch.save(dict(a=hostile), tmp_path / folder / 'evil.pth')
    (tmp_path / 'open_mmlab.json').write_text('{"evil": "evil.pth"}')
    run = python('-c', LOAD, order, path=[fork], cwd=tmp_path)
    assert run.stdout.split() == ['ValueError'] * 2 + ['UnpicklingError']
    assert not (tmp_path / 'marker').exists()
