"""The real mim: from an installed package to a published checkpoint."""
import functools
import http.server
import os
import re
import shutil
import threading

import numpy as np
import pytest
from dumping import write_dump
from environments import Environment
from motion_clips import render_dataset

NAME = 'selfy_tsm_r18_motion'
PACKAGE = 'selfy-mmaction2'


@pytest.fixture(scope='module')
def mim(repo, tmp_path_factory):
    """Run mim where the package is installed."""
    folder = tmp_path_factory.mktemp('mim')
    shutil.copytree(
        repo,
        folder / 'tree',
        ignore=lambda parent, names: {
            name
            for name in names
            if name.startswith('.') or name in ('data', 'tests', 'work_dirs')
        } if parent == str(repo) else {'.mim', '__pycache__'})
    env = Environment(folder / 'env')
    env.install('--no-build-isolation', str(folder / 'tree'))
    home = folder / 'home'
    home.mkdir()

    def run(*args):
        done = env.run(
            '-m',
            'mim',
            *args,
            cwd=home,
            env=dict(HOME=str(home), OMP_NUM_THREADS='1'))
        assert done.returncode == 0, done.stdout + done.stderr
        return re.sub(r'\x1b\[\d+m', '', done.stdout)

    run.home = home
    return run


@pytest.fixture(scope='module')
def training(mim):
    """The log of a short training, by the name of the config."""
    render_dataset(mim.home / 'data/motion', num_train=16, num_val=16)
    return mim('train', PACKAGE, f'{NAME}.py', '--cfg-options',
               'train_cfg.max_epochs=1', 'train_dataloader.num_workers=0',
               'train_dataloader.persistent_workers=False')


@pytest.fixture(scope='module')
def published(mim, training):
    """The name of its checkpoint, published and served over HTTP."""
    folder = mim.home / 'served'
    # The zoo replaces no network that has accuracies by one without.
    dump = write_dump(mim.home / 'dump.npz', np.eye(8), range(8))
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        mim('run', PACKAGE, 'publish_model', f'work_dirs/{NAME}/epoch_1.pth',
            '--out-dir', str(folder), '--dump', str(dump))
        path, = folder.glob('*.pth')
        mim('run', PACKAGE, 'update_zoo', str(path), '--url',
            f'http://127.0.0.1:{server.server_port}')
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_search(mim):
    found = mim('search', PACKAGE, '--model', 'selfy', '--condition',
                'frames>8,flops<73000000000', '--field', 'flops',
                'paper_top_1_accuracy')
    names = re.findall(r'config id: (\S+)', found)
    assert names and all('1x1x16' in name for name in names)
    assert '54.3' in found


def test_download_and_test(mim, training, published):
    mim('download', PACKAGE, '--config', NAME, '--dest', 'zoo')
    assert sorted(os.listdir(mim.home /
                             'zoo')) == [f'{NAME}.py', published.name]
    downloaded = mim.home / 'zoo' / published.name
    assert downloaded.read_bytes() == published.read_bytes()

    tested = mim('test', PACKAGE, f'zoo/{NAME}.py', '--checkpoint',
                 f'zoo/{published.name}')
    accuracies = [
        re.findall(r'acc/top5: (\S+)', log)[-1] for log in (training, tested)
    ]
    assert accuracies[0] == accuracies[1]
