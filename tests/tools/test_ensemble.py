"""tools/ensemble.py on dumps that MMEngine writes, and on hostile files."""
import io
import os
import pickle
import sys

import cv2
import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.evaluator import DumpResults

LABELS = [0, 1, 2, 2]
# Alone, the first is right on samples 0 and 2, the second on 1 and 3.
FIRST = [[.9, .1, 0], [.5, .3, .2], [.1, .1, .8], [.6, 0, .4]]
SECOND = [[.4, .6, 0], [.1, .9, 0], [.2, .7, .1], [.2, .1, .7]]
FILES = ['cook/a.mp4', 'cook/b.mp4', 'run/c.mp4', 'run/d.mp4']


@pytest.fixture
def dump(tmp_path):
    """Write a dump as a test does."""

    def write(name, scores, labels=LABELS, files=FILES, key='filename',
              root='data/videos'):
        path = str(tmp_path / name)
        metric = DumpResults(path)
        for score, label, file in zip(scores, labels, files, strict=True):
            sample = ActionDataSample().set_gt_label(label).set_pred_score(
                torch.tensor(score))
            if file:
                sample.set_metainfo({key: f'{root}/{file}'})
            metric.process(None, [sample.to_dict()])
        metric.evaluate(len(labels))
        return path

    return write


@pytest.fixture
def report(load_tool, monkeypatch, capsys):
    """Run the tool and return its output."""

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['ensemble.py', *map(str, args)])
        capsys.readouterr()
        load_tool('ensemble').main()
        return capsys.readouterr().out

    return run


def test_accuracies(report, dump):
    dumps = dump('first.pkl', FIRST), dump('second.pkl', SECOND)
    lines = report(*dumps).splitlines()
    assert lines[0].split() == '4 samples top-1 top-5 mean class'.split()
    assert lines[1].split() == [dumps[0], '50.00', '100.00', '50.00']
    assert lines[2].split() == [dumps[1], '50.00', '100.00', '50.00']
    # For sample 2, e.g., (.1 + .2, .1 + .7, .8 + .1) is (.3, .8, .9).
    assert lines[3].split() == ['together', '100.00', '100.00', '100.00']
    # With the second alone its mistakes are back.
    assert report(*dumps, '--weights', 0, 1).splitlines()[3].split()[1] == (
        '50.00')
    # Wrong on sample 3: one of four samples, half of a class of three.
    assert report(*dumps, '--weights', 3, 1).splitlines()[3].split() == [
        'together', '75.00', '100.00', '83.33']
    alone = report(dumps[0]).splitlines()
    assert [line.split() for line in alone[1:]] == [lines[1].split()]


def test_class_table_and_picture(report, dump, tmp_path):
    labels = tmp_path / 'labels.txt'
    labels.write_text('cooking\nrunning, fast\nflying\n')
    table, picture = tmp_path / 'table.csv', tmp_path / 'matrix.png'
    report(dump('first.pkl', FIRST), '--labels', labels, '--per-class', table,
           '--confusion', picture)
    assert table.read_text() == (
        'label,class,samples,accuracy,most often taken for\n'
        '1,"running, fast",1,0.00,cooking\n'
        '2,flying,2,50.00,cooking\n'
        '0,cooking,1,100.00,\n')
    image = cv2.imread(str(picture))
    assert min(image.shape[:2]) > 300 and len(np.unique(image)) > 10
    assert 'cooking' in report(
        dump('first.pkl', FIRST), '--labels', labels, '--per-class')


def test_frames_and_videos_elsewhere_are_the_same_samples(report, dump):
    frames = [file[:-4] for file in FILES]
    first = dump('first.pkl', FIRST)
    second = dump('second.pkl', SECOND, files=frames, key='frame_dir',
                  root='/mnt/frames')
    assert 'together' in report(first, second)


@pytest.mark.parametrize('change, words', [
    (dict(labels=LABELS[:3], scores=SECOND[:3], files=FILES[:3]),
     'first.pkl has 4 samples of 3 classes, but {} has 3 samples of 3'),
    (dict(scores=np.eye(4)), '{} has 4 samples of 4 classes'),
    (dict(labels=[0, 2, 2, 1]),
     '2 of 4 samples have another label: number 1 (cook/b) has label 1 in '),
    (dict(files=[FILES[0], *FILES[3:0:-1]]),
     'number 1 (cook/b) has name cook/b in '),
    (dict(files=[None] * 4, labels=[0, 1, 2, 1]), 'number 3 (run/d) has lab'),
    (dict(scores=[[3., -1, 0]] * 4), 'average_clips=prob'),
    (dict(labels=[[0, 1]] * 4), 'holds no predictions with a single label'),
    (dict(labels=[7] * 4), 'has labels from 7 to 7'),
])
def test_other_samples_are_refused(run_tool, dump, change, words):
    first = dump('first.pkl', FIRST)
    second = dump('second.pkl', **dict(dict(scores=SECOND), **change))
    message = run_tool('ensemble', first, second)
    assert words.format(second) in message
    assert message.startswith('ensemble.py: error: ')
    assert '\n' not in message


@pytest.mark.parametrize('args, words', [
    (['--weights', 1, 2], '--weights gives 2 numbers for 1 dumps'),
    (['--weights', -1], 'give positive numbers'),
    (['--labels', __file__], 'but each dump has 3: give a file with as many'),
    (['absent.pkl'], 'dump absent.pkl does not exist.'),
])
def test_wrong_arguments(run_tool, dump, args, words):
    assert words in run_tool('ensemble', dump('first.pkl', FIRST), *args)


class Call:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


@pytest.fixture
def hostile(tmp_path):
    """Files that make a directory when unpickled, by their name."""
    mark = str(tmp_path / 'mark')
    file = io.BytesIO()
    torch.save(Call(os.mkdir, mark), file)
    good = [dict(gt_label=torch.tensor([0]), pred_score=torch.ones(1))]
    calls = dict(
        plain=Call(os.mkdir, mark),
        through_getattr=Call(getattr, 'text', 'format'),
        through_a_storage=Call(torch.storage._load_from_bytes,
                               file.getvalue()),
        through_numpy=np.array([Call(os.mkdir, mark)], dtype=object))
    files = {
        name: pickle.dumps([*good, call], protocol=2)
        for name, call in calls.items()
    }
    files['text'] = b'gt_label 3\n'
    files['empty'] = b''
    files['cut'] = pickle.dumps(good)[:-20]
    return files, mark


@pytest.mark.parametrize('name', [
    'plain', 'through_getattr', 'through_a_storage', 'through_numpy', 'text',
    'empty', 'cut'
])
def test_hostile_files_are_refused(run_tool, tmp_path, hostile, name):
    files, mark = hostile
    path = tmp_path / 'dump.pkl'
    path.write_bytes(files[name])
    message = run_tool('ensemble', path)
    assert message.startswith(f'ensemble.py: error: {path} is not a dump (')
    assert not os.path.exists(mark)
    if name not in ('through_getattr', 'text', 'empty', 'cut'):
        # What is refused does run where it is not.
        pickle.loads(files[name])
        assert os.path.exists(mark)
