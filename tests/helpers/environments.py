"""Virtual environments for tests of installations."""
import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

SITE = Path(sysconfig.get_path('purelib'))


class Environment:
    """A virtual environment that borrows its packages from this one."""

    def __init__(self, folder, without=()):
        venv.create(folder, symlinks=True)
        self.python = folder / 'bin' / 'python'
        self.site, = folder.glob('lib/python3*/site-packages')
        borrowed = folder / 'borrowed'
        borrowed.mkdir()
        for entry in SITE.iterdir():
            if not entry.name.startswith(
                ('selfy_mmaction', '__editable__', *without)):
                (borrowed / entry.name).symlink_to(entry)
        (self.site / 'borrowed.pth').write_text(f'{borrowed}\n')
        # How setuptools brings distutils back to Python 3.12 and newer.
        for path in borrowed.glob('distutils*.pth'):
            (self.site / path.name).symlink_to(path)

    def run(self, *args, env=None, **kwargs):
        env = {
            **os.environ, 'PIP_DISABLE_PIP_VERSION_CHECK': '1',
            **(env or {})
        }
        env.pop('PYTHONPATH', None)
        return subprocess.run([self.python, *args],
                              capture_output=True,
                              text=True,
                              env=env,
                              **kwargs)

    def install(self, *args):
        run = self.run('-m', 'pip', 'install', '--no-deps', *args)
        if 'no matching distribution found for setuptools' in (
                run.stderr.lower()):
            pytest.skip('no package index to isolate a build with')
        assert run.returncode == 0, run.stderr
