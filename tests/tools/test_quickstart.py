"""The quickstart, on a few clips."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def quickstart(folder, env):
    run = subprocess.run(['bash', str(ROOT / 'tools/quickstart.sh')],
                         env=dict(env, CLIPS='32', DIR=str(folder)),
                         cwd=folder,
                         capture_output=True,
                         text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


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

    # The last epoch is found by its number: a copy may have any time.
    last, = tmp_path.rglob('epoch_3.pth')
    shutil.copy(last, last.with_name('epoch_10.pth'))
    os.utime(last.with_name('epoch_10.pth'), (100, 100))
    files = {
        path: path.stat().st_mtime_ns
        for path in [*tmp_path.rglob('*.mp4'), *tmp_path.rglob('*.pth')]
    }
    second = quickstart(tmp_path, tool_env)
    assert 'Epoch(train)' not in second and '/epoch_10.pth on' in second
    assert second.splitlines()[-1] == answer
    assert {path: path.stat().st_mtime_ns for path in files} == files
