"""The motion benchmark: what its clips show, and what they do not reveal."""
import re

import bench_clips
import motion_clips
import numpy as np
import pytest


def many(split, label):
    """Tracks of a split's clips of one class."""
    clips = bench_clips.list_clips('val', split, 1800, seed=0)
    return [
        bench_clips.draw_tracks(clip) for clip in clips if clip.label == label
    ]


def steps(tracks):
    """Signed cells that the cards move from frame to frame of a scene.

    The way of at most half of the ring, [frames, CARDS].
    """
    apart = tracks.scene.max() + 1
    width, cell = bench_clips.WIDTH, bench_clips.CELL
    moved = tracks.x[apart:] - tracks.x[:-apart]
    return ((moved + width // 2) % width - width // 2) / cell


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'bench'
    bench_clips.render_dataset(root, num_train=60, num_val=6)
    return root


def test_lists_name_every_video_and_class_equally_often(root):

    def read(name):
        lines = (root / f'{name}.txt').read_text().splitlines()
        return [line.split() for line in lines]

    tests = sum((read(split) for split in bench_clips.SPLITS), [])
    assert read('val') == tests
    for lines, count in (read('train'), 10), (tests, 6):
        labels = [int(label) for _, label in lines]
        assert sorted(labels) == sorted(list(range(6)) * count)
    videos = [name for name, _ in read('train') + tests]
    assert sorted(videos) == sorted(p.name for p in root.glob('videos/*'))
    classes = (root / 'classes.txt').read_text().splitlines()
    assert classes == list(bench_clips.CLASSES)


def test_a_seed_gives_the_same_files_once(root, tmp_path):
    bench_clips.render_dataset(tmp_path / 'same', 60, 6, num_workers=1)
    bench_clips.render_dataset(tmp_path / 'other', 60, 6, seed=1)
    for path in root.glob('videos/*'):
        content = path.read_bytes()
        assert content == (tmp_path / 'same/videos' / path.name).read_bytes()
        assert content != (tmp_path / 'other/videos' / path.name).read_bytes()
    assert not bench_clips.render_dataset(root, 60, 6)
    for render, numbers in ((bench_clips.render_dataset, (120, 6)),
                            (motion_clips.render_dataset, (40, 8))):
        with pytest.raises(FileExistsError, match='remove it or choose anoth'):
            render(root, *numbers)


def test_tests_show_other_photographs_than_the_training(monkeypatch):
    seen = {}
    cut = bench_clips.cut_window
    for part in 'train', 'val':
        names = seen[part] = set()
        monkeypatch.setattr(
            bench_clips,
            'cut_window',
            lambda name, size, rng, names=names: names.add(name) or cut(
                name, size, rng))
        for clip in bench_clips.list_clips(part, 'fast', 24, seed=0):
            for _ in bench_clips.render_frames(clip):
                pass
    assert len(seen['train']) > 4 and len(seen['val']) > 2
    assert not seen['train'] & seen['val']


@pytest.mark.parametrize('split', ['slow', 'medium', 'fast', 'occluded'])
def test_cards_move_as_their_class_says(split):
    low, high = bench_clips.SPLITS[split].displacement
    for label, kind in enumerate(bench_clips.CLASSES.values()):
        for tracks in many(split, label)[:40]:
            moved = steps(tracks)
            first, second = tracks.displacement
            assert low <= min(first, second) <= max(first, second) <= high
            # Before the change and after it; a card stands on a whole pixel,
            # an eighth of a cell.
            assert moved[:3] == pytest.approx(kind.before * first, abs=0.13)
            assert moved[4:] == pytest.approx(kind.after * second, abs=0.13)
            grown = (second - first) * kind.growth
            if kind.growth:
                assert grown >= (high - low) / 3
                assert kind.before == kind.after
            else:
                assert first == second and kind.before != kind.after


def test_only_frames_that_lie_three_apart_tell_long_clips_apart():
    tracks = many('long', 0)[0]
    assert tracks.scene.tolist() == [0, 1, 2] * 2 + [0, 1]
    # Scenes have random positions: that of the next one is uninformative.
    jumps = {
        label: [(t.x[1, 0] - t.x[0, 0]) % bench_clips.WIDTH
                for t in many('long', label)]
        for label in (0, 1)
    }
    middles = [np.histogram(jumps[i], 4, (0, 128))[0] for i in (0, 1)]
    assert min(map(min, middles)) > 50


@pytest.mark.parametrize('split', bench_clips.SPLITS)
def test_single_frames_are_distributed_alike_in_every_class(split):
    # Where on the ring the cards stand, up to which one is which.
    spacing = bench_clips.WIDTH / bench_clips.CARDS
    for frame in 0, 5, bench_clips.FRAMES - 1:
        shares = [
            np.histogram([t.x[frame, 0] % spacing
                          for t in many(split, label)], 4,
                         (0, spacing))[0] / 300
            for label in range(len(bench_clips.CLASSES))
        ]
        # 5 standard deviations of a share of 300 clips
        assert np.abs(np.array(shares) - 0.25).max() < 0.125


@pytest.mark.parametrize('one, other', [
    ('left, then right', 'right, then left'),
    ('left, faster', 'right, slower'),
    ('left, slower', 'right, faster'),
])
def test_fast_cards_do_not_tell_their_direction_unless_matched(one, other):
    """Matching the nearest card cannot distinguish two classes.

    Its displacement varies by less than a cell to either side.
    """
    spacing = bench_clips.WIDTH / bench_clips.CARDS / bench_clips.CELL
    for frame in 0, -1:
        quartiles = []
        for name in one, other:
            label = list(bench_clips.CLASSES).index(name)
            seen = np.array([steps(t)[frame, 0] for t in many('fast', label)])
            seen = (seen + spacing / 2) % spacing - spacing / 2
            assert np.abs(seen).max() < 0.8
            quartiles.append(np.quantile(seen, [0.25, 0.5, 0.75]))
        assert np.abs(np.subtract(*quartiles)).max() < 0.2


@pytest.mark.parametrize('split', ['occluded', 'blurred'])
def test_damaged_clips_are_medium_ones_but_for_a_middle_frame(split):
    for good, bad in zip(
            *(bench_clips.list_clips('val', name, 12, seed=3)
              for name in ('medium', split)),
            strict=True):
        differ = [
            not np.array_equal(*frames) for frames in zip(
                *map(bench_clips.render_frames, (good, bad)), strict=True)
        ]
        assert sum(differ) == 1
        assert differ.index(True) in (3, 4)


@pytest.mark.parametrize('numbers, message', [
    (dict(num_train=24, num_val=6), 'train clips.*multiple of 10.* 24'),
    (dict(num_train=40, num_val=6), 'train clips.*multiple of 6.* 16'),
    (dict(num_train=60, num_val=0), 'val clips.*multiple of 6.* 0'),
    (dict(num_train=60, num_val=6, num_workers=0), 'num_workers.* 0'),
])
def test_a_bad_number_is_named(numbers, message, tmp_path):
    with pytest.raises(ValueError) as error:
        bench_clips.render_dataset(tmp_path / 'bench', **numbers)
    assert re.search(message, str(error.value))
    assert not list(tmp_path.iterdir())
