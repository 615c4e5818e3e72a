"""Wrappers between a data set and its transforms."""
from selfy_mmaction.datasets.bad_clips import BadClips


def test_bad_clips_keep_their_names_apart(tmp_path):
    bad = BadClips(str(tmp_path / 'bad_clips.txt'), 10, 1)
    for name in 'a\tb.mp4', 'a\tc.mp4', 'a\tb.mp4', 'd\ne.mp4':
        bad.add(name, 'is an empty file')
    assert bad.read() == dict.fromkeys([r'a\tb.mp4', r'a\tc.mp4', r'd\ne.mp4'],
                                       'is an empty file')


def test_a_line_that_a_full_disk_cut(tmp_path):
    path = tmp_path / 'bad_clips.txt'
    bad = BadClips(str(path), 10, 1)
    bad.add('a.mp4', 'is an empty file')
    path.write_bytes(path.read_bytes() + 'b\u00fc'.encode()[:-1])
    assert bad.read() == {'a.mp4': 'is an empty file'}
    for _ in range(2):  # the first one ends the line
        bad.add('c.mp4', 'is an empty file')
    assert bad.read()['c.mp4'] == 'is an empty file'
