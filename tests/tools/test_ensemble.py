"""tools/ensemble.py on dumps as a test writes them."""
import sys

import cv2
import numpy as np
import pytest
from dumping import write_dump

LABELS = [0, 1, 2, 2]
# Alone, the first is right on samples 0 and 2, the second on 1 and 3.
FIRST = [[.9, .1, 0], [.5, .3, .2], [.1, .1, .8], [.6, 0, .4]]
SECOND = [[.4, .6, 0], [.1, .9, 0], [.2, .7, .1], [.2, .1, .7]]
FILES = ['cook/a.mp4', 'cook/b.mp4', 'run/c.mp4', 'run/d.mp4']


@pytest.fixture
def dump(tmp_path):
    """Write a dump as a test does."""

    def write(name, scores, labels=LABELS, files=FILES, root='data/videos',
              **kwargs):
        if files:
            files = [f'{root}/{file}' for file in files]
        return write_dump(
            str(tmp_path / name), scores, labels, files, **kwargs)

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
    dumps = dump('first.npz', FIRST), dump('second.npz', SECOND)
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


def test_logits_or_probabilities_are_averaged(report, run_tool, dump):
    # Alone, each is right on one of the samples.
    first = dump('first.npz', [[6., 0, 0], [0, 0, 1]], [0, 1], FILES[:2],
                 kind='logits')
    second = dump('second.npz', [[0., 2, 0], [0, 3, 0]], [0, 1], FILES[:2],
                  kind='logits')
    # Sample 0: 6 against 2 in logits; sample 1: 3 against 1.
    assert report(first, second, '--average', 'logits').splitlines()[
        3].split() == ['together', '100.00', '100.00', '100.00']
    third = dump('third.npz', [[-9., 0, 0], [0, 3, 0]], [0, 1], FILES[:2],
                 kind='logits')
    # Sample 0: 6 - 9 against 0 in logits, 1.00 + 0.00 against 0.00 + 0.50 in
    # probabilities.
    averages = [
        report(first, third, *args).splitlines()[3].split()[1]
        for args in (['--average', 'logits'], ['--average', 'probabilities'],
                     [])
    ]
    assert averages == ['50.00', '100.00', '100.00']
    old = dump('old.npz', [[.5, .5, 0], [0, 1, 0]], [0, 1], FILES[:2])
    assert report(first, old)
    message = run_tool('ensemble', first, old, '--average', 'logits')
    assert message == (
        f'ensemble.py: error: {old} holds probabilities, and no logits to '
        'average: test with --cfg-options model.cls_head.average_clips=score.')


def test_class_table_and_picture(report, dump, tmp_path):
    labels = tmp_path / 'labels.txt'
    labels.write_text('cooking\nrunning, fast\nflying\n')
    table, picture = tmp_path / 'table.csv', tmp_path / 'matrix.png'
    report(dump('first.npz', FIRST), '--labels', labels, '--per-class', table,
           '--confusion', picture)
    assert table.read_text() == (
        'label,class,samples,accuracy,most often taken for\n'
        '1,"running, fast",1,0.00,cooking\n'
        '2,flying,2,50.00,cooking\n'
        '0,cooking,1,100.00,\n')
    image = cv2.imread(str(picture))
    assert min(image.shape[:2]) > 300 and len(np.unique(image)) > 10
    assert 'cooking' in report(
        dump('first.npz', FIRST), '--labels', labels, '--per-class')


def test_classes_are_named_by_any_dump(report, dump, tmp_path):
    labels = tmp_path / 'labels.txt'
    labels.write_text('cooking\nrunning\nflying\n')
    first = dump('first.npz', FIRST)
    second = dump('second.npz', SECOND, classes=['cook', 'run', 'fly'])
    out = report(first, second, '--per-class')
    assert '\n2,fly,2,100.00,\n' in out
    assert '\n1,class 1,1,0.00,class 0\n' in report(first, '--per-class')
    # Those that are asked for come first.
    assert '\n2,flying,2,' in report(
        first, second, '--per-class', '--labels', labels)


def test_frames_and_videos_elsewhere_are_the_same_samples(report, dump):
    frames = [file[:-4] for file in FILES]
    first = dump('first.npz', FIRST)
    second = dump('second.npz', SECOND, files=frames, key='frame_dir',
                  root='/mnt/frames')
    assert 'together' in report(first, second)


@pytest.mark.parametrize('change, words', [
    (dict(labels=LABELS[:3], scores=SECOND[:3], files=FILES[:3]),
     'first.npz has 4 samples of 3 classes, but {} has 3 samples of 3'),
    (dict(scores=np.eye(4)), '{} has 4 samples of 4 classes'),
    (dict(labels=[0, 2, 2, 1]),
     '2 of 4 samples have another label: number 1 (cook/b) has label 1 in '),
    (dict(files=[FILES[0], *FILES[3:0:-1]]),
     'number 1 (cook/b) has name cook/b in '),
    (dict(files=None, labels=[0, 1, 2, 1]), 'number 3 (run/d) has lab'),
    (dict(scores=[[3., -1, 0]] * 4), 'average_clips=score for logits'),
    (dict(labels=[7] * 4), 'is not a dump (labels from 7 to 7 for 3 classes)'),
])
def test_other_samples_are_refused(run_tool, dump, change, words):
    first = dump('first.npz', FIRST)
    second = dump('second.npz', **dict(dict(scores=SECOND), **change))
    message = run_tool('ensemble', first, second)
    assert words.format(second) in message
    assert message.startswith('ensemble.py: error: ')
    assert '\n' not in message


@pytest.mark.parametrize('args, words', [
    (['--weights', 1, 2], '--weights gives 2 numbers for 1 dumps'),
    (['--weights', -1], 'give positive numbers'),
    (['--labels', __file__], 'but each dump has 3: give a file with as many'),
    (['absent.npz'], 'dump absent.npz does not exist.'),
    (['mmaction.pkl'], 'mmaction.pkl is a pickle, '),
])
def test_wrong_arguments(run_tool, dump, args, words):
    assert words in run_tool('ensemble', dump('first.npz', FIRST), *args)
