"""The quickstart, on a few clips."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def quickstart(folder, env, script=ROOT / 'tools/quickstart.sh'):
    run = subprocess.run(['bash', str(script)],
                         env=dict(env, CLIPS='32', DIR=str(folder)),
                         cwd=folder,
                         capture_output=True,
                         text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_last_epoch_is_found_by_its_number(tmp_path, tool_env):
    """A copy may have any modification time."""
    script = tmp_path / 'tools/quickstart.sh'
    script.parent.mkdir()
    shutil.copy(ROOT / 'tools/quickstart.sh', script)
    script.with_name('setup_env.sh').touch()
    # in place of Python: trains nothing
    python = tmp_path / '.venv/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    work_dir = tmp_path / 'work_dirs/selfy_tsm_r18_motion'
    work_dir.mkdir(parents=True)
    for epoch in 10, 9, 2:  # the order of their times
        (work_dir / f'epoch_{epoch}.pth').touch()
        os.utime(work_dir / f'epoch_{epoch}.pth', (100 - epoch, ) * 2)
    (tmp_path / 'data/motion').mkdir(parents=True)
    for name in 'val.txt', 'classes.txt':
        (tmp_path / 'data/motion' / name).touch()
    assert '/epoch_10.pth on' in quickstart(tmp_path, tool_env, script)


@pytest.mark.skipif(
    Path(sys.prefix) != ROOT / '.venv',
    reason='the quickstart would make .venv: run tools/run_tests.sh')
def test_from_nothing_to_a_prediction_and_again(tmp_path, tool_env):
    first = quickstart(tmp_path, tool_env)
    assert 'Rendered 32 + 8 clips' in first
    assert 'Epoch(train) [3][4/4]' in first
    assert re.search(r'Epoch\(test\) \[1/1\] +acc/top1: [01]\.', first)
    answer = first.splitlines()[-1]
    assert re.fullmatch(
        r'data/motion/videos/val_0003\.mp4 shows: \w+ \w+ \w+ '
        r'\([\d.]+ ?%\); truth: camera tilts down', answer)

    files = {
        path: path.stat().st_mtime_ns
        for path in [*tmp_path.rglob('*.mp4'), *tmp_path.rglob('*.pth')]
    }
    second = quickstart(tmp_path, tool_env)
    assert 'Epoch(train)' not in second
    assert second.splitlines()[-1] == answer
    assert {path: path.stat().st_mtime_ns for path in files} == files
