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

from selfy_mmaction.evaluation.dumps import load_dump
from selfy_mmaction.evaluation.metrics import dump_results

SCORES = np.array([[.9, .1, 0], [.25, .5, .25]], np.float32)
FILES = ['/data/cook/a.mp4', '/data/run/b.mp4']


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'dump.npz')


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_what_is_written_is_read(path, dtype):
    classes = ['cooking', 'r\u00fanning, fast', '\u98db']
    scores = torch.tensor(SCORES).to(dtype)
    write_dump(path, scores, [0, 2], FILES, classes=classes)
    dump = load_dump(path)
    assert dump.scores.dtype == np.float32
    np.testing.assert_array_equal(dump.scores, scores.float())
    assert dump.probabilities is dump.scores
    assert dump.labels.tolist() == [0, 2]
    assert dump.names == ['cook/a', 'run/b']
    assert dump.classes == classes
    # Anyone can read it, and no pickle is in it.
    with np.load(path, allow_pickle=False) as file:
        assert file['scores'].shape == (2, 3)
    assert os.listdir(os.path.dirname(path)) == ['dump.npz']
    # Unknown names, and those of another number of classes, are left out.
    write_dump(path, SCORES, [0, 2], classes=['a', 'b'])
    assert load_dump(path)[4:] == ([], [])


@pytest.mark.parametrize('files, names', [
    (['b/c.x.mp4', 'd.mp4'], ['b/c.x', 'd']),
    (['{cwd}/b/c.mp4', 'b/d/e.mp4'], ['c', 'd/e']),
    (['b/\udcffc.mp4', 'b/d.mp4'], ['\udcffc', 'd']),
])
def test_names_are_those_in_the_folder(path, files, names):
    files = [file.format(cwd=os.getcwd()) for file in files]
    write_dump(path, SCORES, [0, 2], files)
    assert load_dump(path).names == names


@pytest.mark.parametrize('average_clips, kind', [('score', 'logits'),
                                                 ('prob', 'probabilities'),
                                                 (None, 'probabilities')])
def test_a_test_says_what_its_scores_are(path, repo, average_clips, kind):
    cfg = Config.fromfile(repo / 'configs/selfy_tsm_r50_k400.py')
    cfg.model.cls_head.average_clips = average_clips
    dump_results(cfg, path)
    assert METRICS.build(cfg.test_evaluator[-1]).kind == kind


def test_logits_are_kept_and_turn_into_probabilities(path):
    logits = np.log(SCORES.clip(1e-9)) + np.float32([[7], [-3]])
    write_dump(path, logits, [0, 2], kind='logits')
    dump = load_dump(path)
    np.testing.assert_array_equal(dump.scores, logits)
    np.testing.assert_allclose(dump.probabilities, SCORES, atol=1e-6)


# several labels, none, or views that were not averaged
@pytest.mark.parametrize('scores, labels', [(SCORES, [[0, 1], 2]),
                                            (SCORES, [[], 2]),
                                            (SCORES[:, None], [0, 2])])
def test_samples_of_other_kinds_end_the_test(path, scores, labels):
    with pytest.raises(ValueError, match='a sample has . labels .*without it'):
        write_dump(path, scores, labels)
    assert not os.path.exists(path)


MEMBERS = dict(
    scores=SCORES,
    kind='probabilities',
    labels=[0, 2],
    names=['a', 'b'],
    classes=[*'xyz'],
    left_out=0)


@pytest.mark.parametrize('change', [
    dict(labels=[0, -1]),
    dict(labels=[3, 1]),
    dict(labels=[0]),
    dict(labels=[0., 1.]),
    dict(labels=[[0], [1]]),
    dict(scores=SCORES[:0], labels=np.empty(0, int), names=np.empty(0, str)),
    dict(scores=SCORES[:, :0]),
    dict(scores=SCORES * np.nan),
    dict(scores=SCORES.astype(int)),
    dict(scores=SCORES[0]),
    dict(kind='votes'),
    dict(kind=['logits']),
    dict(names=['a']),
    dict(names=[b'a', b'b']),
    dict(names=['a', None]),
    dict(classes=[*'wxyz']),
    dict(more=0),
])
def test_other_archives_are_refused(path, change):
    np.savez(path, **MEMBERS)
    assert load_dump(path).names == ['a', 'b']
    lacking = {key: x for key, x in MEMBERS.items() if key not in change}
    for members in [MEMBERS | change] + [lacking] * ('more' not in change):
        np.savez(path, **members)
        with pytest.raises(
                ValueError,
                match=rf'^{path} is not a dump \(.*\): give one '
                'that tools/test.py --dump has written.$'):
            load_dump(path)


# the last one would fill the screen
@pytest.mark.parametrize('length, shown', [(1, r'\(1, 3\)'),
                                           (10**12, r'\(10{12}, 3\)'),
                                           (10**3999, r'\.\.\.')])
def test_headers_tell_the_sizes_of_the_members(path, length, shown):
    header = dict(descr='<f4', fortran_order=False, shape=(length, 3))
    np.savez(path, **{k: x for k, x in MEMBERS.items() if k != 'scores'})
    with zipfile.ZipFile(path, 'a') as archive:
        with archive.open('scores.npy', 'w') as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.write(SCORES.tobytes())
    with pytest.raises(
            ValueError, match=rf'\(scores has 24 bytes for shape {shown}\): '):
        load_dump(path)


def test_pickles_are_refused_unread(tmp_path):
    path = tmp_path / 'a.pkl'
    path.write_bytes(pickle.dumps([dict(gt_label=0)]))
    with pytest.raises(
            ValueError, match='a.pkl is a pickle, .* --dump FILE.npz.$'):
        load_dump(str(path))


@pytest.mark.parametrize('scores, meta, message', [
    (4 * SCORES - 1, {}, 'average_clips=score for logits'),
    (SCORES, dict(left_out=3), 'dump.npz lacks 3 clips .*without --skip-bad'),
])
def test_useless_dumps_are_refused(path, scores, meta, message):
    write_dump(path, scores, [0, 2], FILES, **meta)
    with pytest.raises(ValueError, match=message):
        load_dump(path)
