"""Installations of a copy of the tree, each in an environment of its own."""
import filecmp
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import mmaction
import pytest
import torch
from environments import Environment
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import selfy_mmaction

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ('configs', 'tools', 'model-index.yml')


@pytest.fixture
def tree(tmp_path):
    """A copy of what is packed, without what builds left in the original.

    And a checkpoint, which is not packed.
    """
    tree = tmp_path / 'tree'
    tree.mkdir()
    for name in (*SHIPPED, 'selfy_mmaction', 'requirements'):
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name,
                tree / name,
                ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, tree)
    (tree / 'checkpoints').mkdir()
    (tree / 'checkpoints/some.pth').touch()
    return tree


@pytest.fixture
def env(tmp_path):
    """An environment without PyTorch: installing must not import it."""
    return Environment(tmp_path / 'env', without=['torch'])


def files(folder):
    return {
        path.relative_to(folder)
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def check_mim_copies(env, tree):
    """Check that an installation has MIM's folder, and copies in it."""
    mim = env.site / 'selfy_mmaction' / '.mim'
    assert sorted(path.name for path in mim.iterdir()) == sorted(SHIPPED)
    assert not any(path.is_symlink() for path in mim.rglob('*'))
    for name in 'configs', 'tools':
        assert files(mim / name) == files(tree / name)
        for path in files(mim / name):
            assert filecmp.cmp(mim / name / path, tree / name / path, False)


def test_install(env, tree):
    gone = tree / 'configs' / 'gone.py'
    gone.write_text('a = 1\n')
    env.install('--no-build-isolation', str(tree))
    check_mim_copies(env, tree)

    # What an earlier build left does not come back.
    gone.unlink()
    env.install('--no-build-isolation', str(tree))
    check_mim_copies(env, tree)
    assert not (tree / 'selfy_mmaction' / '.mim').exists()

    version = env.run(
        '-c', 'from importlib.metadata import version as v;'
        'print(v("selfy-mmaction2"))').stdout.strip()
    assert version == selfy_mmaction.__version__
    # MIM takes the folder of the first recorded file for the package.
    record, = env.site.glob('selfy_mmaction2-*.dist-info/RECORD')
    assert record.read_text().startswith('selfy_mmaction/')


def test_editable_install(env, tree):
    for _ in range(2):
        env.install('--no-build-isolation', '-e', str(tree))
        mim = tree / 'selfy_mmaction' / '.mim'
        assert sorted(path.name for path in mim.iterdir()) == sorted(SHIPPED)
        for name in SHIPPED:
            assert (mim / name).is_symlink()
            assert (mim / name).resolve() == tree / name
    found = env.run(
        '-c', 'import importlib.util as u;'
        'print(u.find_spec("selfy_mmaction").origin)',
        cwd=env.site)
    assert Path(found.stdout.strip()) == tree / 'selfy_mmaction/__init__.py'
    # The links of an editable installation stay out of a later wheel.
    env.install('--no-build-isolation', str(tree))
    check_mim_copies(env, tree)


def test_install_with_build_isolation(env, tree):
    env.install(str(tree))
    check_mim_copies(env, tree)


def test_install_from_sdist(env, tree):
    built = env.run(
        '-c', 'from setuptools.build_meta import build_sdist;'
        'build_sdist("dist")',
        cwd=tree)
    sdist, = tree.glob('dist/*.tar.gz')
    assert built.returncode == 0
    with tarfile.open(sdist) as archive:
        folders = {name.split('/')[1] for name in archive.getnames()[1:]}
    assert 'configs' in folders and 'checkpoints' not in folders
    env.install('--no-build-isolation', str(sdist))
    check_mim_copies(env, tree)


@pytest.mark.parametrize('python, words', [
    ('/bin/false', 'PYTHON=/bin/false is no Python 3.10 to 3.14 with venv.'),
    ('', 'no Python 3.10 to 3.14 with venv found on PATH'),
])
def test_setup_without_python_is_one_line(tmp_path, tree, python, words):
    tools = tmp_path / 'bin'
    tools.mkdir()
    for name in 'dirname', 'cat', 'cmp':
        (tools / name).symlink_to(shutil.which(name))
    run = subprocess.run(
        [shutil.which('bash'), tree / 'tools' / 'setup_env.sh'],
        capture_output=True,
        text=True,
        env=dict(PATH=str(tools), PYTHON=python))
    assert run.returncode == 1
    assert run.stderr.startswith(f'setup_env: {words}')
    assert len(run.stderr.splitlines()) == 1
    assert not (tree / '.venv').exists()


TSM = """
default_scope = 'mmaction'
custom_imports = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
model = dict(
    type='Recognizer2D',
    backbone=dict(type='ResNetTSM', depth=18, num_segments=4),
    cls_head=dict(type='TSMHead', num_classes=2, in_channels=512,
                  num_segments=4),
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=[128.] * 3,
                           std=[64.] * 3, format_shape='NCHW'))
train_dataloader = dict(
    batch_size=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VideoDataset', ann_file='list.txt',
        pipeline=[
            dict(type='DecordInit'),
            dict(type='SampleFrames', clip_len=1, num_clips=4),
            dict(type='DecordDecode'),
            dict(type='Resize', scale=(64, 64), keep_ratio=False),
            dict(type='FormatShape', input_format='NCHW'),
            dict(type='PackActionInputs'),
        ]))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
work_dir = 'work'
"""


@pytest.fixture
def readme():
    """The Python of the README, by a word in it."""
    text = (ROOT / 'README.md').read_text()
    blocks = re.findall('```python\n(.*?)```', text, re.DOTALL)
    return lambda word: next(block for block in blocks if word in block)


def test_the_lines_of_the_readme(tmp_path, tree, video_dir, readme):
    """From the wheel, in a folder elsewhere, by MMAction2's own script."""
    script = Path(mmaction.__file__).parent / '.mim' / 'tools' / 'train.py'
    if not script.exists():
        pytest.skip('this MMAction2 came without its tools')
    env = Environment(tmp_path / 'env')
    env.install('--no-build-isolation', str(tree))
    project = tmp_path / 'project'
    project.mkdir()
    (project / 'your_tsm.py').write_text(TSM)
    (project / 'config.py').write_text(readme('load_from'))
    videos = sorted(video_dir.glob('*.mp4'))[::3]
    (project / 'list.txt').write_text(''.join(
        f'{path} {i % 2}\n' for i, path in enumerate(videos)))
    init_default_scope('mmaction')
    tsm = MODELS.build(Config.fromfile(project / 'your_tsm.py').model)
    torch.save(tsm.state_dict(), project / 'your_tsm_checkpoint.pth')

    shape = env.run('-c', readme('stss('), cwd=project)
    assert re.search('2, 8, 14, 14, 5, 9, 9', shape.stdout), shape.stderr
    train = [str(script), 'config.py']
    run = env.run(*train, cwd=project)
    assert run.returncode == 0, run.stderr
    assert 'no SELFY block backbone.selfy.layer2' in run.stdout
    run = env.run(
        *train,
        '--resume',
        '--cfg-options',
        'train_cfg.max_epochs=2',
        cwd=project)
    assert run.returncode == 0, run.stderr
    assert 'resumed epoch: 1' in run.stdout
    assert (project / 'work' / 'epoch_2.pth').exists()
