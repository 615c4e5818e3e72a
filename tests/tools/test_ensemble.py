"""tools/ensemble.py on dumps as a test writes them."""
import cv2
import numpy as np
import pytest
from dumping import write_dump

LABELS = [0, 1, 2, 2]
# Alone, the first is right on samples 0 and 2, the second on 1 and 3.
FIRST = [[.9, .1, 0], [.5, .3, .2], [.1, .1, .8], [.6, 0, .4]]
SECOND = [[.4, .6, 0], [.1, .9, 0], [.2, .7, .1], [.2, .1, .7]]
FILES = [f'data/{x}.mp4' for x in ('cook/a', 'cook/b', 'run/c', 'run/d')]


@pytest.fixture
def dump(tmp_path):
    """Write a dump as a test does."""
    return lambda name, scores, labels=LABELS, files=FILES, **kwargs: (
        write_dump(
            str(tmp_path / name), scores, labels, files and files[:len(labels)
                                                                  ], **kwargs))


@pytest.fixture
def report(call_tool):
    """Run the tool and return the words of each line of its output."""
    return lambda *args: [
        line.split() for line in call_tool('ensemble', *args).splitlines()
    ]


def test_accuracies(report, dump):
    first = dump('first.npz', FIRST)
    # tested on frames elsewhere: the same samples
    frames = [f'/mnt/frames/{file[5:-4]}' for file in FILES]
    second = dump('second.npz', SECOND, files=frames, key='frame_dir')
    lines = report(first, second)
    assert lines == [
        '4 samples top-1 top-5 mean class'.split(),
        [first, '50.00', '100.00', '50.00'],
        [second, '50.00', '100.00', '50.00'],
        # For sample 2, e.g., (.1 + .2, .1 + .7, .8 + .1) is (.3, .8, .9).
        ['together', '100.00', '100.00', '100.00'],
    ]
    # With the second alone its mistakes are back.
    assert report(first, second, '--weights', 0, 1)[3][1] == '50.00'
    # Wrong on sample 3: one of four samples, half of a class of three.
    last = report(first, second, '--weights', 3, 1)[3]
    assert last[1:] == ['75.00', '100.00', '83.33']
    assert [line[1:] for line in report(first)[1:]] == [lines[1][1:]]


def test_logits_or_probabilities_are_averaged(report, run_tool, dump):
    # Alone, each is right on one of the samples.
    first, second, third = (dump(
        f'{i}.npz', logits, [0, 1], kind='logits') for i, logits in enumerate(
            [[[6., 0, 0], [0, 0, 1]], [[0., 2, 0], [0, 3, 0]],
             [[-9., 0, 0], [0, 3, 0]]]))
    # Sample 0: 6 against 2 in logits; sample 1: 3 against 1.
    assert report(first, second, '--average', 'logits')[3][1] == '100.00'
    # Sample 0: 6 - 9 against 0 in logits, 1.00 + 0.00 against 0.00 + 0.50 in
    # probabilities.
    assert report(first, third, '--average', 'logits')[3][1] == '50.00'
    assert report(first, third)[3][1] == '100.00'
    old = dump('old.npz', [[.5, .5, 0], [0, 1, 0]], [0, 1])
    assert report(first, old)
    message = run_tool('ensemble', first, old, '--average', 'logits')
    assert message == (
        f'ensemble.py: error: {old} holds probabilities, and no logits to '
        'average: test with --cfg-options model.cls_head.average_clips=score.')


def test_class_table_and_picture(call_tool, dump, tmp_path):
    labels = tmp_path / 'labels.txt'
    labels.write_text('cooking\nrunning, fast\nflying\n')
    table, picture = tmp_path / 'table.csv', tmp_path / 'matrix.png'
    first = dump('first.npz', FIRST)
    call_tool('ensemble', first, '--labels', labels, '--per-class', table,
              '--confusion', picture)
    assert table.read_text() == (
        'label,class,samples,accuracy,most often taken for\n'
        '1,"running, fast",1,0.00,cooking\n'
        '2,flying,2,50.00,cooking\n'
        '0,cooking,1,100.00,\n')
    image = cv2.imread(str(picture))
    assert min(image.shape[:2]) > 300 and len(np.unique(image)) > 10
    # Any dump names the classes; a file of names comes first.
    both = first, dump('second.npz', SECOND, classes=['cook', 'run', 'fly'])
    for args, line in (([first], '1,class 1,1,0.00,class 0'),
                       (both, '2,fly,2,100.00,'), ([*both, '--labels', labels],
                                                   '2,flying,2,100.00,')):
        out = call_tool('ensemble', *args, '--per-class')
        assert line in out.splitlines()


@pytest.mark.parametrize('change, words', [
    (dict(labels=[0, 2, 2, 1]),
     '2 of 4 samples have another label: number 1 (cook/b) has label 1 in '),
    (dict(files=[FILES[0], *FILES[3:0:-1]]),
     'number 1 (cook/b) has name cook/b in '),
    (dict(files=None, labels=[0, 1, 2, 1]), 'number 3 (run/d) has lab'),
])
def test_other_samples_are_refused(run_tool, dump, change, words):
    first = dump('first.npz', FIRST)
    message = run_tool('ensemble', first, dump('b.npz', SECOND, **change))
    assert message.startswith('ensemble.py: error: ') and words in message
    assert '\n' not in message


@pytest.mark.parametrize('args, words', [
    (['--weights', 1, 2], '--weights gives 2 numbers for 1 dumps'),
    (['--weights', -1], 'give positive numbers'),
    (['--labels', __file__], 'but each dump has 3: give a file with as many'),
])
def test_wrong_arguments(run_tool, dump, args, words):
    assert words in run_tool('ensemble', dump('first.npz', FIRST), *args)
