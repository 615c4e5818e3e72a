"""The repairs of MMAction2's import, in fresh processes."""
import contextlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import mmaction
import mmcv
import pytest
from mmengine.fileio import FileClient

import selfy_mmaction
from selfy_mmaction import compat

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(sysconfig.get_path('purelib'))


def python(*args, path=ROOT):
    """Run a fresh Python that finds our package, or those in a folder."""
    env = dict(os.environ, PYTHONPATH=str(path), PYTHONWARNINGS='ignore')
    return subprocess.run([sys.executable, *args],
                          capture_output=True,
                          text=True,
                          env=env)


# MMAction2's import


def test_models_import_after_ours_only():
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


@pytest.mark.parametrize('folder, text', [
    ('models/localizers/drn', 'from .drn.drn import DRN'),
    ('models/localizers', ''),
])
def test_whole_installations_are_left_alone(folder, text, tmp_path,
                                            monkeypatch):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'models/localizers/__init__.py').write_text(text)
    monkeypatch.setattr(mmaction, '__file__', str(tmp_path / '__init__.py'))
    monkeypatch.delitem(
        sys.modules, 'mmaction.models.localizers.drn', raising=False)
    compat.stub_missing_drn()
    assert 'mmaction.models.localizers.drn' not in sys.modules


def test_beside_a_transformers_that_mmaction_does_not_know(tmp_path):
    package = tmp_path / 'transformers'
    package.mkdir()
    for name in '__init__', 'modeling_utils':
        (package / f'{name}.py').write_text('raise ImportError')
    info = tmp_path / 'transformers-5.0.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Name: transformers\nVersion: 5.0.0\n')
    run = python(
        '-c', 'import selfy_mmaction, mmaction.models, mmaction.registry as r;'
        'r.MODELS.get("VindLUVQA")()',
        path=f'{tmp_path}{os.pathsep}{ROOT}')
    assert 'requires' in run.stderr.splitlines()[-1], run.stderr


def test_without_mmaction(tmp_path):
    for entry in SITE.iterdir():
        if not entry.name.startswith(
            ('mmaction', 'mmengine', 'mmcv', '__editable__')):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / 'selfy_mmaction').symlink_to(ROOT / 'selfy_mmaction')
    run = python(
        '-S',
        '-c', 'import torch; load = torch.load;'
        'from selfy_mmaction import SELFYBlock, stss;'
        'print(*stss(torch.rand(1, 2, 3, 4, 4)).shape, torch.load is load);'
        'from selfy_mmaction import ResNetSELFY',
        path=tmp_path)
    assert run.stdout.strip() == '1 2 4 4 5 9 9 True', run.stderr
    assert run.stderr.splitlines()[-1] == (
        'ImportError: ResNetSELFY needs MMAction2: pip install mmaction2 '
        'mmcv-lite')


def test_public_names():
    assert {*selfy_mmaction.__all__} <= {*dir(selfy_mmaction)}
    for name in {*selfy_mmaction.__all__} - {'__version__'}:
        assert getattr(selfy_mmaction, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Selfy'"):
        selfy_mmaction.Selfy  # noqa: B018


def test_too_old_mmaction_is_one_line(tmp_path, monkeypatch):
    (tmp_path / 'mmaction').mkdir()
    (tmp_path / 'mmaction/__init__.py').write_text('assert False')
    (tmp_path / 'mmaction/version.py').write_text("__version__ = '1.1.0'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'mmaction')
    with pytest.raises(ImportError) as info:
        compat.import_mmaction()
    assert str(info.value) == (
        'MMAction2 1.1.0 is installed, but selfy_mmaction needs 1.2.0: '
        "pip install 'mmaction2>=1.2.0' mmcv-lite; uninstall the present mmcv "
        'first.')


@pytest.mark.parametrize('version, result', [
    ('2.0.0', None),
    ('2.2.0', UserWarning),
    ('2.10.1', UserWarning),
    ('3.0.0', ImportError),
])
def test_versions_of_mmcv(version, result, monkeypatch):
    """MMAction2 is imported anew, with an mmcv that has another version."""
    monkeypatch.setattr(mmcv, '__version__', version)
    monkeypatch.delitem(sys.modules, 'mmaction')
    match = f'mmcv {version}|MMCV=={version} .*<2.2.0.* mmcv-lite works'
    expect = pytest.raises if result is ImportError else pytest.warns
    with expect(result, match=match) if result else contextlib.nullcontext():
        compat.import_mmaction()
    assert ('mmaction' in sys.modules) == (result is not ImportError)
    assert mmcv.__version__ == version


def test_missing_mmcv_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    with pytest.raises(ImportError, match='^MMAction2 needs mmcv or mmcv-l.*'):
        compat.import_mmaction()


def test_the_file_api_of_mmaction_is_not_mentioned(capfd):
    FileClient('disk')
    assert capfd.readouterr() == ('', '')
