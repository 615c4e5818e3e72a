"""Dumps of tests: what is written is read, and nothing else."""
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from dumping import write_dump
from mmaction.registry import METRICS
from mmengine.config import Config

from selfy_mmaction.evaluation.dumps import dump_results, load_dump

SCORES = np.array([[.9, .1, 0], [.25, .5, .25]], np.float32)
FILES = ['/data/cook/a.mp4', '/data/run/b.mp4']


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'dump.npz')


def test_what_is_written_is_read(path):
    classes = ['cooking', 'r\u00fanning, fast', '\u98db']
    write_dump(path, SCORES, [0, 2], FILES, classes=classes)
    dump = load_dump(path)
    assert dump.path == path
    assert dump.scores.dtype == np.float32
    np.testing.assert_array_equal(dump.scores, SCORES)
    assert dump.labels.tolist() == [0, 2]
    assert dump.names == ['cook/a', 'run/b']
    assert dump.classes == classes
    # Anyone can read it, and no pickle is in it.
    with np.load(path, allow_pickle=False) as file:
        assert file['scores'].shape == (2, 3)
        assert file['names'].tolist() == dump.names
    assert os.listdir(os.path.dirname(path)) == ['dump.npz']


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_scores_of_half_precision(path, dtype):
    scores = torch.tensor(SCORES).to(dtype)
    write_dump(path, scores, [0, 2])
    np.testing.assert_array_equal(load_dump(path).scores, scores.float())


def test_what_is_unknown_is_empty(path):
    write_dump(path, SCORES, [0, 2])
    assert load_dump(path)[4:] == ([], [])
    # Names for another number of classes are dropped.
    write_dump(path, SCORES, [0, 2], classes=['a', 'b'])
    assert load_dump(path).classes == []


@pytest.mark.parametrize('files, names', [
    (['b/c.x.mp4', 'b/d.mp4'], ['c.x', 'd']),
    (['b/c.mp4', 'd.mp4'], ['b/c', 'd']),
    (['{cwd}/b/c.mp4', 'b/d/e.mp4'], ['c', 'd/e']),
    (['b/\udcffc.mp4', 'b/d.mp4'], ['\udcffc', 'd']),
])
def test_names_are_those_in_the_folder(path, files, names):
    files = [file.format(cwd=os.getcwd()) for file in files]
    write_dump(path, SCORES, [0, 2], files)
    assert load_dump(path).names == names


@pytest.mark.parametrize(
    'scores, labels',
    [
        (SCORES, [[0, 1], 2]),
        (SCORES, [[], 2]),
        # of several views that were not averaged
        (SCORES[:, None], [0, 2]),
    ])
def test_samples_of_other_kinds_end_the_test(path, scores, labels):
    with pytest.raises(
            ValueError,
            match=r'dump.npz: a sample has . labels .*'
            ': test without it.'):
        write_dump(path, scores, labels)
    assert not os.path.exists(path)


def test_an_earlier_dump_stays_where_none_can_be_written(path, monkeypatch):
    write_dump(path, SCORES, [0, 2])

    def fill_disk(file, **members):
        file.write_bytes(b'PK')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(np, 'savez', fill_disk)
    with pytest.raises(OSError, match='could not write .*dump.npz: No space'):
        write_dump(path, SCORES, [1, 1])
    assert load_dump(path).labels.tolist() == [0, 2]
    assert os.listdir(os.path.dirname(path)) == ['dump.npz']


def members(**change):
    return dict(
        dict(
            scores=SCORES,
            kind=np.array('probabilities'),
            labels=np.array([0, 2]),
            names=np.array(['a', 'b']),
            classes=np.array(['x', 'y', 'z']),
            left_out=np.array(0)), **change)


NOT_DUMPS = {
    'labels below':
    members(labels=np.array([0, -1])),
    'labels above':
    members(labels=np.array([3, 1])),
    'fewer labels':
    members(labels=np.array([0])),
    'labels of floats':
    members(labels=np.array([0., 1.])),
    'more labels each':
    members(labels=np.array([[0], [1]])),
    'no samples':
    members(
        scores=SCORES[:0], labels=np.empty(0, int), names=np.empty(0, str)),
    'no classes':
    members(scores=SCORES[:, :0]),
    'NaN':
    members(scores=SCORES * np.nan),
    'infinity':
    members(scores=np.float32([[np.inf, 0, 0], [-np.inf, 0, 0]])),
    'scores of integers':
    members(scores=SCORES.astype(int)),
    'a row of scores':
    members(scores=SCORES[0]),
    'views':
    members(scores=SCORES[None]),
    'scores of another kind':
    members(kind=np.array('votes')),
    'kinds of scores':
    members(kind=np.array(['logits'])),
    'fewer names':
    members(names=np.array(['a'])),
    'names of bytes':
    members(names=np.array([b'a', b'b'])),
    'objects':
    members(names=np.array(['a', None])),
    'more class names':
    members(classes=np.array([*'wxyz'])),
    'another member':
    members(more=np.array(0)),
    **{
        f'no {name}': {
            key: value
            for key, value in members().items() if key != name
        }
        for name in members()
    }
}


@pytest.mark.parametrize('name', NOT_DUMPS)
def test_other_archives_are_refused(path, name):
    np.savez(path, **members())
    assert load_dump(path).names == ['a', 'b']
    np.savez(path, **NOT_DUMPS[name])
    with pytest.raises(ValueError) as error:
        load_dump(path)
    message = str(error.value)
    assert message.startswith(f'{path} is not a dump (')
    assert message.endswith('): give one that tools/test.py --dump has '
                            'written.')
    assert '\n' not in message


@pytest.mark.parametrize(
    'digits, reason',
    [
        (1, r'scores has 24 bytes for shape \(1, 3\)'),
        (13, r'scores has 24 bytes for shape \(1000000000000, 3\)'),
        # a number that would fill the screen
        (4000, r'scores has 24 bytes for shape \.\.\.'),
    ])
def test_headers_tell_the_sizes_of_the_members(path, digits, reason):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, value in members().items():
            with archive.open(f'{name}.npy', 'w') as file:
                if name != 'scores':
                    np.save(file, value)
                    continue
                np.lib.format.write_array_header_1_0(
                    file,
                    dict(
                        descr='<f4',
                        fortran_order=False,
                        shape=(10**(digits - 1), 3)))
                file.write(value.tobytes())
    with pytest.raises(ValueError, match=rf'\({reason}\): give one '):
        load_dump(path)


@pytest.mark.parametrize('name', ['a.pkl', 'a.pickle'])
def test_pickles_are_refused_unread(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(pickle.dumps([dict(gt_label=0)]))
    with pytest.raises(
            ValueError,
            match=rf'{name} is a pickle, .* write an '
            r'.npz with tools/test.py CONFIG CHECKPOINT --dump '
            r'FILE.npz.$'):
        load_dump(str(path))


@pytest.mark.parametrize('average_clips', ['score', 'prob', None])
def test_a_test_says_what_its_scores_are(path, repo, average_clips):
    cfg = Config.fromfile(repo / 'configs/selfy_tsm_r50_k400.py')
    cfg.model.cls_head.average_clips = average_clips
    dump_results(cfg, path)
    metric = METRICS.build(cfg.test_evaluator[-1])
    assert metric.kind == ('logits'
                           if average_clips == 'score' else 'probabilities')


def test_logits_are_kept_and_turn_into_probabilities(path):
    logits = np.log(SCORES.clip(1e-9)) + np.float32([[7], [-3]])
    write_dump(path, logits, [0, 2], kind='logits')
    dump = load_dump(path)
    assert dump.kind == 'logits'
    np.testing.assert_array_equal(dump.scores, logits)
    np.testing.assert_allclose(dump.probabilities, SCORES, atol=1e-6)
    write_dump(path, SCORES, [0, 2])
    assert load_dump(path).probabilities.tolist() == SCORES.tolist()


def test_scores_that_are_no_probabilities(path):
    write_dump(path, 4 * SCORES - 1, [0, 2])
    with pytest.raises(ValueError, match='average_clips=score for logits'):
        load_dump(path)


def test_partial_tests_are_refused(path):
    write_dump(path, SCORES, [0, 2], FILES, left_out=3)
    with pytest.raises(
            ValueError,
            match=r'dump.npz lacks 3 clips that .*: '
            'repair them, and test without --skip-bad.'):
        load_dump(path)
