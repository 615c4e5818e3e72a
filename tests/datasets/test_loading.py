"""Wrappers between a data set and its transforms."""
from selfy_mmaction.datasets.loading import BadClips


def test_bad_clips_keep_their_names_apart(tmp_path):
    bad = BadClips(str(tmp_path / 'bad_clips.txt'), 10, 1)
    for name in 'a\tb.mp4', 'a\tc.mp4', 'a\tb.mp4', 'd\ne.mp4':
        bad.add(name, 'is an empty file')
    assert bad.read() == dict.fromkeys([r'a\tb.mp4', r'a\tc.mp4', r'd\ne.mp4'],
                                       'is an empty file')
