"""MMAction2's own programs, as its wheel brings them, with our configs."""
import re
import subprocess
import sys
from pathlib import Path

import mmaction
import pytest
import torch
from mmengine.logging import HistoryBuffer

PROGRAMS = Path(mmaction.__file__).parent / '.mim/tools'


@pytest.fixture
def run_program(tool_env, tmp_path):
    """Run a program of MMAction2's and return what it printed."""

    def run(name, *args, by=('-m', 'selfy_mmaction')):
        path = PROGRAMS / name
        if not path.exists():
            pytest.skip(f'this MMAction2 was installed without {name}')
        done = subprocess.run([sys.executable, *by, path, *args],
                              cwd=tmp_path,
                              env=tool_env,
                              capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_publish_model(run_program, tmp_path):
    history = HistoryBuffer([1.0], [1])
    torch.save(
        dict(
            state_dict=dict(weight=torch.ones(2)),
            message_hub=dict(log_scalars=dict(loss=history))),
        tmp_path / 'epoch_1.pth')
    run_program('deployment/publish_model.py', 'epoch_1.pth', 'out.pth')
    path, = tmp_path.glob('out_*.pth')
    saved = torch.load(path)
    assert saved.keys() == {'state_dict'}
    assert saved['state_dict']['weight'].equal(torch.ones(2))


def test_programs_with_a_config_of_ours(run_program, repo):
    # One that imports the models first; the usage names it.
    out = run_program('analysis_tools/confusion_matrix.py', '--help')
    assert out.startswith('usage: confusion_matrix.py')
    config = repo / 'configs/selfy_tsm_r18_motion.py'
    out = run_program(
        'analysis_tools/get_flops.py',
        config,
        *('--shape', '8', '3', '64', '64'),
        by=())
    assert 'Params: 1.109M' in out


@pytest.mark.parametrize('args', [[], ['missing.py']])
def test_no_program(args, tool_env, tmp_path):
    done = subprocess.run([sys.executable, '-m', 'selfy_mmaction', *args],
                          cwd=tmp_path,
                          env=tool_env,
                          capture_output=True,
                          text=True)
    assert done.returncode == 1
    line, = done.stderr.splitlines()
    assert 'is no Python file; usage: python -m selfy_mmaction' in line


def test_the_page_names_programs_that_are_there(repo):
    page = (repo / 'docs/mmaction2.md').read_text()
    named = set(re.findall(r'\$MM/(\S+\.py)', page))
    assert len(named) > 10
    assert not {name for name in named if not (PROGRAMS / name).exists()}
