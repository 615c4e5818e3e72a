"""tools/analyze_results.py, on what a real test has dumped."""
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


def test_mistakes_are_told_and_drawn(published, video_dir, call_tool, tmp_path,
                                     monkeypatch):
    config, checkpoint = published
    data = tmp_path / 'data/motion'
    data.mkdir(parents=True)
    (data / 'videos').symlink_to(video_dir)
    (data / 'classes.txt').write_text('\n'.join(CLASSES))
    (data / 'val.txt').write_text(''.join(f'{name}.mp4 {label}\n'
                                          for name, label in CLIPS))
    (data / 'other.txt').write_text('left0.mp4 0\nright0.mp4 1\n')
    monkeypatch.chdir(tmp_path)
    call_tool('test', config, checkpoint, '--dump', 'dump.npz',
              '--cfg-options', 'test_dataloader.num_workers=0',
              'test_dataloader.persistent_workers=False')

    def analyze(*args):
        """The output, in lines, and the size of each picture."""
        out = call_tool('analyze_results', config, 'dump.npz', 'found', *args)
        pictures = {}
        for path in tmp_path.glob('found/*.png'):
            picture = cv2.imread(str(path))
            assert min(picture.shape[:2]) > 80 and len(np.unique(picture)) > 10
            pictures[path.stem] = picture.shape
        return out.splitlines(), pictures

    out, sizes = analyze()
    assert out[0].split()[:2] == ['6', 'samples']
    assert out[1].split()[1::2] == ['50.00', '55.56']
    assert [line.strip() for line in out[2:-1]] == [
        '1 of 3: camera pans right, taken for: camera pans left',
        '1 of 2: standing still, twice, taken for: camera pans left',
        '1 of 2: standing still, twice, taken for: camera pans right',
    ]
    rows = (tmp_path / 'found/classes.csv').read_text().splitlines()
    assert rows[1:] == [
        '2,"standing still, twice",2,0.00,camera pans left',
        '1,camera pans right,3,66.67,camera pans left',
        '0,camera pans left,1,100.00,'
    ]
    assert sizes.keys() == {'classes', 'matrix', 'confusions'}
    # One confusion is two rows of pictures less.
    out, smaller = analyze('--pairs', 1)
    assert str(out).count('taken for') == 1
    assert 2.5 * smaller['confusions'][0] < sizes['confusions'][0]

    other = 'test_dataloader.dataset.ann_file=other.txt'
    for *args, message in (
        ('--cfg-options', other, 'dump.npz has 6 samples of 8 classes, but '
         'data/motion/other.txt has 2 '),
        ('--pairs', 0, '--pairs 0: give 1 or more.'),
        ('--labels', data / 'other.txt', f'{data}/other.txt names 2 '),
    ):
        with pytest.raises(
                SystemExit, match=f'^analyze_results.py: error: {message}'):
            analyze(*args)
