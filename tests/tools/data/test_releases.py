"""From miniature releases to lists."""
import os
import re
import shutil

import pytest
import release_files
from releases import Preparation


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """A video of each kind."""
    folder = tmp_path_factory.mktemp('kinds')
    return {
        kind: release_files.make_video(folder / f'one.{kind}')
        for kind in ('mp4', 'webm')
    }


@pytest.fixture
def release(tmp_path, repo, videos):
    """Writes a release and returns its clips."""
    return lambda dataset: release_files.RELEASES[dataset](
        tmp_path, repo=repo, **videos)


@pytest.fixture
def prepare(tmp_path):
    """Prepare a part of a release that is sound, or not."""

    def prepare(dataset, sound=True, partial_copy=True, **options):
        preparation = Preparation(
            dataset, tmp_path, partial_copy=partial_copy, **options)
        assert preparation.run() == sound
        return preparation

    return prepare


def read(path):
    return path.read_text().splitlines()


def listed(root, split):
    """The clips of the one list of a split."""
    path, = root.glob(f'*_{split}_list_*.txt')
    return [line.split()[0] for line in read(path)]


def find(preparation, pattern):
    """The findings that match a pattern."""
    return [
        line for line in preparation.findings.lines()
        if re.search(pattern, line)
    ]


@pytest.mark.parametrize('dataset, size, storage', [
    ('sthv1', 174, None),
    ('sthv2', 174, None),
    ('k400', 400, None),
    ('diving48', 48, None),
    ('diving48', 48, 'rawframes'),
    ('diving48_v1', 48, None),
    ('gym99', 99, None),
    ('gym288', 288, None),
])
def test_lists_hold_each_clip_with_its_label(release, prepare, tmp_path,
                                             dataset, size, storage):
    clips = release(dataset)
    if storage:
        for name in [*clips['train'], *clips['val']]:
            release_files.make_frames(tmp_path / storage / name,
                                      'img_{:05}.jpg')
    preparation = prepare(dataset, storage=storage)
    classes = read(tmp_path / f'{dataset}_classes.txt')
    assert len(classes) == size
    assert dataset != 'gym288' or classes[7] == '(VT) salto 7 turn'
    storage = preparation.storage
    for split, of_split in clips.items():
        folder = preparation.release.folders[storage].format(split=split)
        lines = read(tmp_path / f'{dataset}_{split}_list_{storage}.txt')
        for line, (name, label) in zip(lines, of_split.items(), strict=True):
            path, *frames, number = line.split()
            assert os.path.exists(tmp_path / folder / path)
            assert os.path.basename(path).split('.')[0] == name
            assert frames == (['20'] if storage == 'rawframes' else [])
            if dataset == 'diving48_v1':
                label = classes[(classes.index(label) + 1) % 48]
            assert label in (int(number), classes[int(number)])

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob('*.*')}
    prepare(dataset, storage=storage)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_somethings_archive_of_today_with_broken_videos(
        release, prepare, tmp_path, videos):
    release('sthv2')
    folder = tmp_path / 'labels'
    folder.mkdir()
    for path in tmp_path.glob('something-something-v2-*.json'):
        name = path.name.removeprefix('something-something-v2-')
        # with a byte-order mark, as some editors save it
        (folder / name).write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
        path.unlink()
    (tmp_path / 'videos/101.webm').write_bytes(b'')
    (tmp_path / 'videos/102.webm').write_bytes(
        videos['webm'].read_bytes()[:100])
    preparation = prepare('sthv2', sound=False, workers=2)
    assert find(preparation, 'train: 101.webm is an empty file')
    assert find(preparation, 'train: 102.webm .*(is not a video|no frame)')
    assert listed(tmp_path, 'train') == ['103.webm', '104.webm']
    assert listed(tmp_path, 'val') == ['201.webm', '202.webm']
    # With --no-decode the videos are not opened.
    prepare('sthv2', sound=False, decode=False)
    assert listed(tmp_path, 'train') == ['102.webm', '103.webm', '104.webm']
    (folder / 'train.json').unlink()
    with pytest.raises(FileNotFoundError, match='v2-train.json or labels/tr'):
        prepare('sthv2')


def test_unsound_clips_are_reported_and_left_out(release, prepare, tmp_path):
    release('sthv1')
    train = tmp_path / 'something-something-v1-train.csv'
    names = '11', '21', '../../etc', '/etc', 'a b', '16'
    train.write_text(train.read_text() + '15;Juggling something\n' +
                     ''.join(f'{name};{release_files.LEFT}\n'
                             for name in names))
    frames = tmp_path / 'rawframes'
    (frames / '11/00007.jpg').unlink()
    for path in (frames / '12').iterdir():
        path.unlink()
    part = prepare('sthv1', sound=False, workers=2)
    lines = part.findings.lines()
    assert [line for line in lines if 'published' not in line] == [
        "error: train: 15 has the unknown class 'Juggling something'",
        'error: train: 11 is listed twice; the first is used',
        "error: train: '../../etc' leads out of the folder of the data",
        "error: train: '/etc' leads out of the folder of the data",
        "error: train: 'a b' is empty or has a space, which a list cannot "
        'contain',
        'error: 21 is in train and in val; val keeps it',
        'error: train: 11 has 19 images, but no 00007.jpg',
        'error: train: 12 has no 00001.jpg',
        'warning: train: 16 has no folder',
    ]
    assert read(part.problems_file) == lines
    assert listed(tmp_path, 'train') == ['13', '14']
    assert listed(tmp_path, 'val') == ['21', '22']
    assert part.summary['train']['unreadable'] == 2
    # In a whole release, none is missing.
    whole = prepare('sthv1', sound=False, partial_copy=False)
    assert '16 has no folder' in find(whole, '^error: train: 16')[0]
    assert find(whole, '^error: train: 10 clips are annotated, 86017 are')
    assert find(whole, '^error: val: 2 clips are annotated, 11522 are')


def test_kinetics_misses_some_and_has_others(release, prepare, tmp_path):
    clips = release('k400')
    name = next(iter(clips['train']))
    path = tmp_path / f'videos_train/abseiling/{name}.mp4'
    path.rename(path.with_name('zYxWvUtSrQp_000001_000011.mp4'))
    whole = prepare('k400', partial_copy=False)
    # an approximate number, which is never an error
    assert find(whole, '^warning: train: .* about 240000 are published')
    assert find(whole, f'^warning: train: {name} has no video')
    assert find(whole, '^warning: .*videos_train has 1 videos that are')
    names = listed(tmp_path, 'train')
    assert len(names) == 3
    assert names[1].startswith('tying_knot_(not_on_a_tie)/')
    # as the crawler of Kinetics names them
    (tmp_path / 'videos_train/tying_knot_(not_on_a_tie)').rename(
        tmp_path / 'videos_train/tying knot (not on a tie)')
    spaced = prepare('k400', sound=False)
    assert find(spaced, "folder 'tying knot .*' has a space, .* underscore")


def test_unsound_elements_are_left_out(release, prepare, tmp_path):
    release('gym99')
    path = tmp_path / 'annotations/gym99_val_element.txt'
    element = 'zfqS-wCJSsw_E_006732_006824_A_0007_0009'
    unknown = element.replace('7_0009', '7_0008')
    path.write_text(f'{read(path)[0]}\n{element} 99\n{element} -1\n'
                    f'{unknown} 3\n')
    preparation = prepare('gym99', sound=False)
    for message in (f'{element} has label 99, which is not from 0 to 98',
                    f'{element} has label -1, which',
                    f'{unknown} is not in .*_info_v1.1.json'):
        assert find(preparation, f'^error: val: {message}')
    assert len(listed(tmp_path, 'val')) == 1


@pytest.mark.parametrize('dataset, newest, oldest', [('gym99', 26320, 20484),
                                                     ('gym288', 29334, 22671)])
def test_version_of_finegym_is_the_named_one(release, prepare, tmp_path,
                                             dataset, newest, oldest):
    """In a folder that holds both, with other clips in the older list."""
    release(dataset)
    folder = tmp_path / 'annotations'
    new = folder / f'{dataset}_train_element_v1.1.txt'
    old = folder / f'{dataset}_train_element_v1.0.txt'
    old.write_text(''.join(f'{line}\n' for line in read(new)[:3]))
    events = folder / 'finegym_annotation_info_v1.1.json'
    shutil.copy(events, folder / 'finegym_annotation_info_v1.0.json')
    val = dict(gym99=8521, gym288=9646)[dataset]
    for version, count, published in ((None, 4, newest), ('v1.0', 3, oldest),
                                      ('v1.1', 4, newest)):
        preparation = prepare(dataset, version=version)
        assert len(listed(tmp_path, 'train')) == count
        version = version or 'v1.1'
        for split, numbers in ('train', (count, published)), ('val', (2, val)):
            assert find(
                preparation, '^warning: {}: {} clips are annotated, {} are '
                'published as {}$'.format(split, *numbers, version))
        assert preparation.format_summary().split()[0] == version
    new.unlink()
    with pytest.raises(FileNotFoundError, match='v1.1.txt or .*, or give ano'):
        prepare(dataset)
    # the older one whole, under a name without the version
    whole = folder / f'{dataset}_train_org.txt'
    whole.write_text(''.join(f'a{i}_E_1_2_A_3_4 0\n' for i in range(oldest)))
    with pytest.raises(
            ValueError,
            match=f'{whole} has the {oldest} elements of v1.0: give '
            '--version v1.0, or the '):
        prepare(dataset)
    if dataset == 'gym99':
        old.unlink()
        preparation = prepare(dataset, sound=False, version='v1.0')
        assert not find(preparation, 'train: .* are published')


def test_official_lists_count_their_labels_alphabetically(
        release, prepare, tmp_path, class_names):
    release('sthv1')
    names = sorted(class_names)
    lists = [str(tmp_path / f'official_{x}.txt') for x in ('train', 'val')]

    def run(prefix, frames=20, **options):
        """Prepare with lists as the official code has them."""
        for path, numbers in zip(lists, ((11, 12), (21, 22)), strict=True):
            sides = release_files.LEFT, release_files.RIGHT
            with open(path, 'w') as file:
                for i in numbers:
                    label = names.index(sides[i % 2])
                    file.write(f'{prefix}{i} {frames} {label}\n')
        return prepare('sthv1', official_lists=lists, **options)

    run('/Dataset/SSV1/')
    left, right = (
        class_names.index(side)
        for side in (release_files.LEFT, release_files.RIGHT))
    assert right != names.index(release_files.RIGHT)
    assert read(tmp_path / 'sthv1_train_list_rawframes.txt') == [
        f'11 20 {right}', f'12 20 {left}'
    ]
    # where they say, if asked
    folder = f'{tmp_path}/rawframes/'
    run(folder, keep_paths=True)
    assert listed(tmp_path, 'val') == [f'{folder}21', f'{folder}22']
    # their numbers of frames are checked
    other = run('/Dataset/SSV1/', 21, sound=False)
    assert find(other, 'train: 11 has 20 frames instead of 21')


SSV1 = 'something-something-v1-train.csv'
SSV2 = 'something-something-v2-train.json'


@pytest.mark.parametrize(('dataset', 'path', 'text', 'message'), [
    ('sthv1', SSV1, None, f'{SSV1} is neither in .*/annotations nor in'),
    ('sthv1', SSV1, '11\n', 'line 1 has 1 columns instead of 2'),
    ('sthv1', 'rawframes', None, 'rawframes does not exist: move or link'),
    ('sthv2', SSV2, '[{"id":', 'v2-train.json is not valid JSON'),
    ('sthv2', SSV2, '{}', 'v2-train.json holds a dict instead of a list'),
    ('sthv2', SSV2, '[{"id":1}]', "item 0 has no 'template'"),
    ('k400', 'kinetics_val.csv', 'a,b\n1,2\n', "_val.csv has no column 'lab"),
    ('gym99', 'annotations/gym99_val_element.txt', 'name x\n',
     "name: 'x' is not a whole number"),
    ('gym288', 'annotations/gym288_categories.txt', 'no\n',
     'does not name the classes 0 to 287'),
])
def test_wrong_files_are_named(dataset, path, text, message, release, prepare,
                               tmp_path):
    release(dataset)
    path = tmp_path / path
    if text:
        path.write_text(text)
    else:
        path.rename(tmp_path / 'elsewhere')
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare(dataset)
    assert not list(tmp_path.glob('*_list_*'))


@pytest.mark.parametrize(('dataset', 'options', 'message'), [
    ('diving48', dict(official_lists=('a', 'b')), 'has no lists of'),
    ('sthv1', dict(keep_paths=True), 'for --official-lists only'),
    ('sthv1', dict(workers=0), 'workers=0: give 1 or more'),
    ('sthv1', dict(version='v1.0'), 'v1.0: sthv1 has no versions'),
    ('gym99', dict(version='v2'), 'v2: gym99 has v1.1 and v1.0'),
])
def test_wrong_options_are_refused(dataset, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Preparation(dataset, tmp_path, **options)


def test_the_command_says_what_it_found(run_tool, release, tmp_path, capfd):
    release('diving48')
    (tmp_path / 'videos/2x00lRzlTVQ_00000.mp4').unlink()
    assert run_tool('data/prepare', 'diving48', tmp_path, '--workers', 2) == 1
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ['published', 'annotated', 'missing', 'unreadable', 'listed'],
        ['train', '~15000', '4', '0', '0', '4'],
        ['val', '~2000', '2', '1', '0', '1'],
    ]
    problem = 'error: val: 2x00lRzlTVQ_00000 has no video'
    assert problem in lines
    assert problem in read(tmp_path / 'diving48_problems.txt')
    assert '4/4' in err and '4/4' not in out  # the progress
