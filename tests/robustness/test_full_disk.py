"""A disk that is full: what was there stays, and one line names the file."""
import contextlib
import re
import resource

import numpy as np
import publish_model
import pytest
import torch
from processes import ToolProcess
from stss_flow import write_picture

from selfy_mmaction.apis.video import write_video
from selfy_mmaction.datasets.bad_clips import BadClips
from selfy_mmaction.engine.checkpoint import AtomicBackend
from selfy_mmaction.evaluation.metrics import DumpScores

SIZE = 3000  # bytes that a file can have


@contextlib.contextmanager
def full_disk():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


NOISE = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8)
CHECKPOINT = dict(
    meta=dict(cfg='', dataset_meta={}),
    state_dict=dict(weight=torch.zeros(1000)))
WRITERS = {
    f'video.{suffix}': lambda path: write_video(path, NOISE, 12)
    for suffix in ('gif', 'mp4', 'webm')
} | {
    'dump.npz':
    lambda path: DumpScores(str(path), 'probabilities').compute_metrics(
        [dict(label=0, scores=np.zeros(1000))]),
    'picture.jpg':
    lambda path: write_picture(path, NOISE),
    'epoch_1.pth':
    lambda path: AtomicBackend().put(bytes(2 * SIZE), path),
    'x.safetensors':
    lambda path: publish_model.save_safetensors(CHECKPOINT, path),
}


@pytest.mark.parametrize('name', WRITERS)
def test_what_was_there_stays(name, tmp_path, capfd):
    path = tmp_path / name
    path.write_text('of before')
    with full_disk(), pytest.raises(
            OSError, match=f'^could not write {re.escape(str(path))}: '):
        WRITERS[name](path)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_text() == 'of before'
    assert not any(capfd.readouterr())
    WRITERS[name](path)
    assert path.stat().st_size > SIZE


def test_nothing_is_published(tmp_path):
    with full_disk(), pytest.raises(OSError, match=r'x_\d{8}-\w{8}.pth: F'):
        publish_model.save_published(CHECKPOINT, 'x', tmp_path)
    assert not [*tmp_path.iterdir()]


def test_bad_clips_are_named_or_the_list_is(tmp_path):
    bad = BadClips(str(tmp_path / 'bad_clips.txt'), 10, 1)
    bad.add('a.mp4', 'is an empty file')
    with full_disk(), pytest.raises(
            OSError, match='could not write .*/bad_clips.txt: File too large'):
        bad.add(SIZE * 'b', 'is an empty file')


def test_predicting_says_what_it_could_not_write(published, video_dir,
                                                 tmp_path):
    process = ToolProcess(
        'predict', [
            video_dir / 'left0.mp4', *published, '--device', 'cpu', '--out',
            'out.mp4'
        ],
        tmp_path,
        limit=SIZE)
    assert process.wait() == 1
    assert process.log.splitlines()[-1].startswith(
        'predict.py: error: could not write out.mp4: ')
    assert [x.name for x in tmp_path.iterdir()] == ['log.txt']


def test_training_ends_with_a_line(published, motion_options, tmp_path):
    process = ToolProcess(
        'train',
        [published[0], '--work-dir', 'run', '--cfg-options', *motion_options],
        tmp_path,
        limit=SIZE)
    assert process.wait() == 1
    *others, last = process.log.splitlines()
    assert last == (
        'train.py: error: a file cannot be written (File too large): make '
        'room, or write elsewhere, such as with --work-dir.')
    assert len(others) < 5
