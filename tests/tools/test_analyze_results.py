"""tools/analyze_results.py, on what a real test has dumped."""
import sys

import cv2
import numpy as np
import pytest

# The network that comes with the quickstart knows left and right: of the
# third class, all is wrong, and of the second one of three.
CLIPS = [('left0', 0), ('right0', 1), ('right1', 1), ('left1', 1),
         ('left2', 2), ('right4', 2)]
CLASSES = [
    'camera pans left', 'camera pans right', 'standing still, twice', *'abcde'
]


@pytest.fixture(scope='module')
def tested(tmp_path_factory, video_dir):
    """A folder with such clips."""
    folder = tmp_path_factory.mktemp('tested')
    data = folder / 'data/motion'
    data.mkdir(parents=True)
    (data / 'videos').symlink_to(video_dir)
    (data / 'classes.txt').write_text('\n'.join(CLASSES))
    (data / 'val.txt').write_text(''.join(f'{name}.mp4 {label}\n'
                                          for name, label in CLIPS))
    (data / 'other.txt').write_text('left0.mp4 0\nright0.mp4 1\n')
    return folder


@pytest.fixture
def run(published, tested, load_tool, monkeypatch, capsys):
    """Run a tool in that folder and return its output."""

    def run(name, *args):
        monkeypatch.chdir(tested)
        monkeypatch.setattr(sys, 'argv',
                            [f'{name}.py', published[0], *map(str, args)])
        load_tool(name).main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def dump(published, run, tested):
    """The file that a test has written."""
    path = tested / 'dump.npz'
    if not path.exists():
        run('test', published[1], '--dump', path, '--cfg-options',
            'test_dataloader.num_workers=0',
            'test_dataloader.persistent_workers=False')
    return path


def test_mistakes_are_told_and_drawn(run, dump, tested):
    out = run('analyze_results', dump, 'found').splitlines()
    assert out[0].split()[:2] == ['6', 'samples']
    assert out[1].split()[1::2] == ['50.00', '55.56']
    assert [line.strip() for line in out[2:-1]] == [
        '1 of 3: camera pans right, taken for: camera pans left',
        '1 of 2: standing still, twice, taken for: camera pans left',
        '1 of 2: standing still, twice, taken for: camera pans right',
    ]
    folder = tested / 'found'
    assert (folder / 'classes.csv').read_text().splitlines()[1:] == [
        '2,"standing still, twice",2,0.00,camera pans left',
        '1,camera pans right,3,66.67,camera pans left',
        '0,camera pans left,1,100.00,'
    ]
    pictures = {
        name: cv2.imread(str(folder / f'{name}.png'))
        for name in ('classes', 'matrix', 'confusions')
    }
    for picture in pictures.values():
        assert min(picture.shape[:2]) > 80 and len(np.unique(picture)) > 10
    # One confusion is two rows of pictures less.
    out = run('analyze_results', dump, 'one', '--pairs', 1)
    assert out.count('taken for') == 1
    one = cv2.imread(str(tested / 'one/confusions.png'))
    assert 2.5 * len(one) < len(pictures['confusions'])


@pytest.mark.parametrize('args, message', [
    (['--cfg-options', 'test_dataloader.dataset.ann_file=other.txt'],
     '{dump} has 6 samples of 8 classes, but data/motion/other.txt has 2 '),
    (['--pairs', '0'], '--pairs 0: give 1 or more.'),
    (['--labels', 'data/motion/other.txt'], 'data/motion/other.txt names 2 '),
])
def test_bad_input_is_one_line(run, dump, args, message):
    with pytest.raises(SystemExit) as exit_info:
        run('analyze_results', dump, 'bad', *args)
    assert exit_info.value.code.startswith('analyze_results.py: error: ' +
                                           message.format(dump=dump))
