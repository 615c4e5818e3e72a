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
    (tmp_path / 'tools/run_tests.sh'
     ).write_text('echo "tests, required: ${REQUIRE_BROWSER-no}"\n')
    for name in 'bash', 'dirname', 'ln', 'touch', 'true':
        (tmp_path / 'bin' / name).symlink_to(shutil.which(name))

    def run(user='0', browser='', **stubs):
        stubs = {'id': f'echo {user}', 'sleep': 'echo sleep', **stubs}
        for name, text in stubs.items():
            path = tmp_path / 'bin' / name.replace('_', '-')
            path.write_text(f'#!{shutil.which("bash")}\n{text}\n')
            path.chmod(0o755)
        done = subprocess.run([tmp_path / '.ci/run'],
                              cwd=tmp_path,
                              env={
                                  'PATH': str(tmp_path / 'bin'),
                                  'CHROMIUM': browser
                              },
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
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
    assert code and lines == [
        'apt-get update', 'apt-get install',
        '.ci/run: chromium could not be installed: set CHROMIUM to a browser.'
    ]


def test_a_network_that_is_away_is_an_error(run):
    code, lines = run(apt_get='echo "apt-get $1"; exit 100')
    assert code and lines == [
        'apt-get update', 'sleep', 'apt-get update',
        '.ci/run: apt-get update failed twice, so chromium cannot be '
        'installed: check the network, or set CHROMIUM to a browser.'
    ]


def test_a_network_that_comes_back_is_waited_for(run):
    once = '[ -e tried ] || { touch tried; exit 100; }'
    assert run(apt_get=f'{once}{APT}') == (0, [
        'sleep', 'apt-get update', 'apt-get install', 'tests, required: 1'
    ])


@pytest.mark.parametrize('kwargs', [
    dict(browser='/opt/browser'),
    dict(chromium='true'),
    dict(google_chrome='true'),
])
def test_a_browser_that_is_there_needs_no_network(run, kwargs):
    assert run(apt_get='exit 100', **kwargs) == (0, ['tests, required: 1'])


@pytest.mark.parametrize('kwargs', [dict(user='1000', apt_get=APT), dict()])
def test_goes_on_where_it_may_not(run, kwargs):
    assert run(**kwargs) == (0, ['tests, required: no'])
