"""What .ci/run does before the tests."""
import shutil
import subprocess

import pytest


@pytest.fixture
def run(repo, tmp_path):
    """Run it with programs that are not the system's, and no tests."""
    for folder in '.ci', 'tools', 'bin':
        (tmp_path / folder).mkdir()
    shutil.copy(repo / '.ci/run', tmp_path / '.ci')
    (tmp_path / 'tools/run_tests.sh').write_text(
        'echo "tests, required: ${REQUIRE_BROWSER-no}"\n')
    for name in 'bash', 'dirname', 'ln', 'true':
        (tmp_path / 'bin' / name).symlink_to(shutil.which(name))

    def run(user='0', **stubs):
        for name, text in {'id': f'echo {user}', **stubs}.items():
            path = tmp_path / 'bin' / name.replace('_', '-')
            path.write_text(f'#!{shutil.which("bash")}\n{text}\n')
            path.chmod(0o755)
        done = subprocess.run(
            [tmp_path / '.ci/run'],
            env={'PATH': str(tmp_path / 'bin')},
            capture_output=True,
            text=True)
        return done.returncode, done.stdout.splitlines()

    return run


APT = """
echo "apt-get $1"
[ "$1" != install ] || ln -s "$(command -v true)" "${0%/*}/chromium"
"""


def test_brings_a_browser_and_requires_it(run):
    assert run(apt_get=APT) == (0, [
        'apt-get update', 'apt-get install', 'tests, required: 1'
    ])
    assert run(apt_get=APT) == (0, ['tests, required: 1'])


def test_a_browser_that_cannot_be_installed_is_an_error(run):
    code, lines = run(apt_get='echo "apt-get $1"; [ "$1" = update ]')
    assert code and lines == ['apt-get update', 'apt-get install']


@pytest.mark.parametrize('kwargs', [
    dict(user='1000', apt_get=APT),
    dict(),
    dict(apt_get='exit 100'),
])
def test_goes_on_where_it_may_not(run, kwargs):
    assert run(**kwargs) == (0, ['tests, required: no'])
