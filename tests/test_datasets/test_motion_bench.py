"""The motion benchmark: what its clips show, and what they do not tell."""
import json
import re

import numpy as np
import pytest

from selfy_mmaction.datasets import motion, motion_bench


def many(split, label):
    """Tracks of a split's clips of one class."""
    clips = motion_bench.list_clips('val', split, 1200, seed=0)
    return [
        motion_bench.draw_tracks(clip) for clip in clips if clip.label == label
    ]


def steps(tracks):
    """Signed cells that the cards move from frame to frame of a scene.

    The way of at most half of the ring, [frames, CARDS].
    """
    apart = tracks.scene.max() + 1
    width, cell = motion_bench.WIDTH, motion_bench.CELL
    moved = tracks.x[apart:] - tracks.x[:-apart]
    return ((moved + width // 2) % width - width // 2) / cell


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'bench'
    motion_bench.render_dataset(root, num_train=40, num_val=4)
    return root


def test_lists_name_every_video_and_class_equally_often(root):
    def read(name):
        lines = (root / f'{name}.txt').read_text().splitlines()
        return [line.split() for line in lines]

    tests = sum((read(split) for split in motion_bench.SPLITS), [])
    assert read('val') == tests
    for lines, count in (read('train'), 10), (tests, 6):
        labels = [int(label) for _, label in lines]
        assert sorted(labels) == sorted(list(range(4)) * count)
    videos = [name for name, _ in read('train') + tests]
    assert sorted(videos) == sorted(p.name for p in root.glob('videos/*'))
    classes = (root / 'classes.txt').read_text().splitlines()
    assert classes == list(motion_bench.CLASSES)


def test_same_seed_same_files_other_seed_others(root, tmp_path):
    motion_bench.render_dataset(tmp_path / 'same', 40, 4, num_workers=1)
    motion_bench.render_dataset(tmp_path / 'other', 40, 4, seed=1)
    for path in root.glob('videos/*'):
        content = path.read_bytes()
        assert content == (tmp_path / 'same/videos' / path.name).read_bytes()
        assert content != (tmp_path / 'other/videos' / path.name).read_bytes()


def test_tests_show_other_photographs_than_the_training(monkeypatch):
    seen = {}
    cut = motion_bench.cut_window
    for part in 'train', 'val':
        names = seen[part] = set()
        monkeypatch.setattr(
            motion_bench, 'cut_window',
            lambda name, size, rng, names=names: names.add(name) or cut(
                name, size, rng))
        for clip in motion_bench.list_clips(part, 'fast', 20, seed=0):
            for _ in motion_bench.render_frames(clip):
                pass
    assert len(seen['train']) > 4 and len(seen['val']) > 2
    assert not seen['train'] & seen['val']


@pytest.mark.parametrize('split', motion_bench.SPLITS)
def test_cards_move_as_far_as_the_split_says(split):
    low, high = motion_bench.SPLITS[split].displacement
    assert (high < 1) if split == 'slow' else (split != 'fast' or low > 4)
    for tracks in many(split, list(motion_bench.CLASSES).index('right')):
        assert low <= tracks.displacement <= high
        # A card stands on a whole pixel, an eighth of a cell.
        moved = steps(tracks)
        assert np.abs(moved - tracks.displacement).max() <= 1 / 8 + 1e-9


@pytest.mark.parametrize('split', ['slow', 'medium', 'fast', 'occluded'])
def test_cards_move_in_the_direction_of_their_class(split):
    for label, directions in enumerate(motion_bench.CLASSES.values()):
        for tracks in many(split, label)[:40]:
            signs = np.sign(steps(tracks))
            # The same for all cards: [frames]
            assert (signs == signs[:, :1]).all()
            first, second = directions
            assert (signs[:3, 0] == first).all()
            assert (signs[4:, 0] == second).all()


def test_only_frames_that_lie_three_apart_tell_long_clips_apart():
    tracks = many('long', 0)[0]
    assert tracks.scene.tolist() == [0, 1, 2] * 2 + [0, 1]
    # Scenes stand anywhere: where the next one is tells nothing.
    jumps = {
        label: [
            (t.x[1, 0] - t.x[0, 0]) % motion_bench.WIDTH
            for t in many('long', label)
        ]
        for label in (0, 1)
    }
    middles = [np.histogram(jumps[i], 4, (0, 128))[0] for i in (0, 1)]
    assert min(map(min, middles)) > 50


@pytest.mark.parametrize('split', motion_bench.SPLITS)
def test_single_frames_are_distributed_alike_in_every_class(split):
    # Where on the ring the cards stand, up to which one is which.
    spacing = motion_bench.WIDTH / motion_bench.CARDS
    for frame in 0, 5, motion_bench.FRAMES - 1:
        shares = [
            np.histogram([t.x[frame, 0] % spacing for t in many(split, label)],
                         4, (0, spacing))[0] / 300
            for label in range(len(motion_bench.CLASSES))
        ]
        # 5 standard deviations of a share of 300 clips
        assert np.abs(np.array(shares) - 0.25).max() < 0.125


def test_fast_cards_shiver_to_both_sides_in_either_direction():
    """Who follows a card without looking at it learns nothing."""
    spacing = motion_bench.WIDTH / motion_bench.CARDS / motion_bench.CELL
    for label in 0, 1:
        seen = np.array([steps(t)[0, 0] for t in many('fast', label)])
        seen = (seen + spacing / 2) % spacing - spacing / 2
        assert np.abs(seen).max() < 0.8
        assert abs((seen > 0).mean() - 0.5) < 0.15


@pytest.mark.parametrize('split', ['occluded', 'blurred'])
def test_damaged_clips_are_medium_ones_but_for_a_middle_frame(split):
    for good, bad in zip(*(motion_bench.list_clips('val', name, 12, seed=3)
                           for name in ('medium', split)), strict=True):
        differ = [
            not np.array_equal(*frames) for frames in zip(
                *map(motion_bench.render_frames, (good, bad)), strict=True)
        ]
        assert sum(differ) == 1
        assert differ.index(True) in (3, 4)


def test_a_second_run_renders_nothing_and_other_clips_are_refused(root):
    assert not motion_bench.render_dataset(root, 40, 4)
    with pytest.raises(FileExistsError, match='remove it or choose another'):
        motion_bench.render_dataset(root, 80, 4)
    with pytest.raises(FileExistsError, match='remove it or choose another'):
        motion.render_dataset(root, 40, 8)
    settings = json.loads((root / 'motion.json').read_text())
    assert settings['kind'] == 'benchmark'


@pytest.mark.parametrize('numbers, message', [
    (dict(num_train=24, num_val=4), 'train clips.*multiple of 10.* 24'),
    (dict(num_train=50, num_val=4), 'train clips.*multiple of 4.* 5'),
    (dict(num_train=40, num_val=0), 'val clips.*multiple of 4.* 0'),
    (dict(num_train=40, num_val=4, num_workers=0), 'num_workers.* 0'),
])
def test_a_bad_number_is_named(numbers, message, tmp_path):
    with pytest.raises(ValueError) as error:
        motion_bench.render_dataset(tmp_path / 'bench', **numbers)
    assert re.search(message, str(error.value))
    assert not list(tmp_path.iterdir())
