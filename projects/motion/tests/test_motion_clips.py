"""The synthetic motion clips: what they show and how they are stored."""
import sys
import time

import cv2
import decord
import motion_clips
import numpy as np
import pytest


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'motion'
    motion_clips.render_dataset(root, num_train=8, num_val=24)
    return root


def read_list(root, split):
    lines = (root / f'{split}.txt').read_text().splitlines()
    names, labels = zip(*(line.split() for line in lines), strict=True)
    return names, [int(label) for label in labels]


def read_video(path):
    """[T, H, W, 3] in RGB"""
    reader = decord.VideoReader(str(path))
    return reader.get_batch(range(len(reader))).asnumpy()


def test_lists_name_every_video_and_class(root):
    videos = []
    for split, count in ('train', 8), ('val', 24):
        names, labels = read_list(root, split)
        assert sorted(labels) == sorted(list(range(8)) * (count // 8))
        videos += names
    assert sorted(videos) == sorted(p.name for p in root.glob('videos/*'))
    classes = (root / 'classes.txt').read_text().splitlines()
    assert classes == list(motion_clips.CLASSES)
    train, val = map(set, motion_clips.PHOTOGRAPHS.values())
    assert len(train) > 1 and len(val) > 1 and not train & val


def test_videos_decode_to_the_rendered_frames(root):
    clip = motion_clips.list_clips('val', 24, seed=0)[3]
    frames = read_video(root / 'videos' / clip.name)
    rendered = np.stack(list(motion_clips.render_frames(clip)))
    assert frames.shape == rendered.shape
    # what the codec costs, in grey levels
    assert np.abs(frames.astype(int) - rendered).mean() < 8


def test_same_seed_same_clips_other_seed_others(root, tmp_path):
    motion_clips.render_dataset(tmp_path / 'same', num_train=8, num_val=8)
    motion_clips.render_dataset(
        tmp_path / 'other', num_train=8, num_val=8, seed=1)
    for name in read_list(tmp_path / 'same', 'val')[0]:
        first, same, other = (
            read_video(folder / 'videos' / name)
            for folder in (root, tmp_path / 'same', tmp_path / 'other'))
        assert np.array_equal(first, same)
        assert not np.array_equal(first, other)


def estimate_class(frames):
    """Name the motion in a clip by dense optical flow."""
    greys = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames[::2]]
    flow = np.stack([
        cv2.calcOpticalFlowFarneback(*pair, None, 0.5, 3, 21, 3, 7, 1.5, 0)
        for pair in zip(greys[:-1], greys[1:], strict=True)
    ])
    dx, dy = flow[..., 0], flow[..., 1]
    x, y = np.median(dx), np.median(dy)
    zoom = np.median([np.gradient(dx, axis=2), np.gradient(dy, axis=1)])
    zoom *= dx.shape[-1] / 4  # as the mean displacement
    # The scene moves against the camera.
    scores = {
        'camera pans left': x,
        'camera pans right': -x,
        'camera tilts up': y,
        'camera tilts down': -y,
        'camera zooms in': zoom,
        'camera zooms out': -zoom
    }
    best = max(scores, key=scores.get)
    if scores[best] > 0.3:
        return best
    # The background stands still.
    left = dx[np.abs(dx) > 1].sum() < 0
    return f'object moves {"left" if left else "right"}'


def test_clips_show_what_their_class_says(root):
    agree = [
        estimate_class(read_video(root / 'videos' /
                                  name)) == motion_clips.CLASSES[label]
        for split in ('train', 'val')
        for name, label in zip(*read_list(root, split), strict=True)
    ]
    # Flow fails where there is little texture; by chance 4 would agree.
    assert sum(agree) >= 28


def test_a_class_is_its_neighbour_played_backwards():
    for label in range(0, 8, 2):
        there, back = (
            list(
                motion_clips.render_frames(
                    motion_clips.Clip('', 'val', i, (7, i // 2))))
            for i in (label, label + 1))
        assert not np.array_equal(there[0], there[-1])
        assert np.array_equal(there, back[::-1])


def test_single_frames_are_distributed_alike_in_every_class():
    frames = []
    for label in range(8):
        rng = np.random.default_rng(label)
        tracks = [motion_clips.draw_tracks(label, rng) for _ in range(1000)]
        # A random frame of each clip: [5, 1000]
        frames.append([[
            track[name][rng.integers(motion_clips.FRAMES)] for track in tracks
        ] for name in sorted(tracks[0])])
    # [8, 5, 9], in units of the standard deviation
    deciles = np.quantile(frames, np.arange(0.1, 1, 0.1), axis=2)
    deciles = deciles.transpose(1, 2, 0) / np.std(
        frames, axis=2).mean(0)[:, None]
    assert np.ptp(deciles, axis=0).max() < 0.25


@pytest.mark.parametrize('name, value, message', [
    ('num_train', 0, 'train clips.*multiple of 8.* 0'),
    ('num_val', 12, 'val clips.*multiple of 8.* 12'),
    ('num_workers', 0, 'num_workers.* 0'),
])
def test_a_bad_number_is_named(name, value, message, tmp_path):
    numbers = dict(num_train=8, num_val=8, num_workers=1)
    with pytest.raises(ValueError, match=message):
        motion_clips.render_dataset(tmp_path / 'motion', **{
            **numbers, name: value
        })
    assert not list(tmp_path.iterdir())


@pytest.fixture
def start(repo, start_process):
    """Start a rendering of so many training clips to a folder."""

    def start(train):
        return start_process(sys.executable,
                             str(repo / 'projects/motion/make_motion.py'),
                             'motion', '--train', str(train), '--val', '8',
                             '--workers', '1')

    return start


def test_of_two_renderings_at_once_one_waits(start, tmp_path):
    said = ''.join(run.communicate()[0] for run in (start(16), start(16)))
    assert 'Rendered 16 + 8 clips to motion.' in said
    assert 'motion is there already.' in said
    assert len(list(tmp_path.glob('motion/videos/*.mp4'))) == 24


def test_a_killed_rendering_is_not_taken_for_a_whole(start, tmp_path):
    run = start(400)
    while not list(tmp_path.rglob('*.mp4')) and run.poll() is None:
        time.sleep(0.05)
    run.kill()
    assert run.wait() != 0
    assert not (tmp_path / 'motion').exists()
    assert 'Rendered 8 + 8 clips' in start(8).communicate()[0]
    assert len(list(tmp_path.glob('motion/videos/*.mp4'))) == 16
    assert [p.name for p in tmp_path.glob('[!.]*')] == ['motion']
