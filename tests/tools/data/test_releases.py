"""From miniature releases to lists."""
import os
import re
import shutil
import subprocess
import sys

import pytest
import release_files
from mmaction.registry import DATASETS
from releases import Preparation
from releases.files_of_release import (
    check_media,
    count_video_frames,
)


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """A video of each kind."""
    folder = tmp_path_factory.mktemp('kinds')
    return dict(
        mp4=release_files.make_video(folder / 'one.mp4'),
        webm=release_files.make_video(folder / 'one.webm'))


@pytest.fixture
def release(tmp_path, repo, videos):
    """Writes a release and returns its clips."""
    return lambda dataset: release_files.RELEASES[dataset](
        tmp_path, repo=repo, **videos)


def read(path):
    return path.read_text().splitlines()


def snapshot(root):
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.iterdir() if path.is_file()
    }


@pytest.mark.parametrize('dataset', release_files.RELEASES)
def test_lists_hold_each_clip_with_its_label(dataset, release, tmp_path,
                                             capfd):
    clips = release(dataset)
    preparation = Preparation(dataset, tmp_path, partial_copy=True, workers=2)
    assert preparation.run()
    assert '6/6' not in capfd.readouterr().out  # progress is for stderr

    classes = read(tmp_path / f'{dataset}_classes.txt')
    storage = 'rawframes' if dataset == 'sthv1' else 'videos'
    folder = preparation.release.folders[storage]
    for split, of_split in clips.items():
        path = tmp_path / f'{dataset}_{split}_list_{storage}.txt'
        # what the configs do with it
        data = DATASETS.build(
            dict(
                type='RawframeDataset'
                if storage == 'rawframes' else 'VideoDataset',
                ann_file=path.name,
                data_root=str(tmp_path),
                data_prefix={
                    'img' if storage == 'rawframes' else 'video':
                    folder.format(split=split)
                },
                pipeline=[]))
        assert len(data) == len(of_split)
        for info, (name, label) in zip(
                map(data.get_data_info, range(len(data))),
                of_split.items(),
                strict=True):
            place = info.get('frame_dir') or info['filename']
            assert os.path.exists(place)
            assert os.path.basename(place).split('.')[0] == name
            if dataset == 'diving48_v1':
                label = classes[(classes.index(label) + 1) % 48]
            assert info['label'] == label or classes[info['label']] == label
            assert info.get('total_frames', 20) == 20
    assert len(classes) == dict(
        sthv1=174,
        sthv2=174,
        k400=400,
        diving48=48,
        diving48_v1=48,
        gym99=99,
        gym288=288)[dataset]
    assert dataset != 'gym288' or classes[7] == '(VT) salto 7 turn'

    before = snapshot(tmp_path)
    assert Preparation(dataset, tmp_path, partial_copy=True, workers=2).run()
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize('parent', ['', 'annotations'])
def test_labels_as_somethings_archive_of_today_has_them(
        release, tmp_path, parent):
    clips = release('sthv2')
    folder = tmp_path / parent / 'labels'
    folder.mkdir(parents=True)
    for path in tmp_path.glob('something-something-v2-*.json'):
        name = path.name.removeprefix('something-something-v2-')
        # with a byte-order mark, as some editors save it
        (folder / name).write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
        path.unlink()
    assert Preparation('sthv2', tmp_path, partial_copy=True).run()
    names = [
        line.split('.')[0] for split in ('train', 'val')
        for line in read(tmp_path / f'sthv2_{split}_list_videos.txt')
    ]
    assert names == [*clips['train'], *clips['val']]
    (folder / 'train.json').unlink()
    with pytest.raises(FileNotFoundError, match='v2-train.json or labels/tr'):
        Preparation('sthv2', tmp_path, partial_copy=True).run()


def find(preparation, pattern):
    """The findings that match a pattern."""
    return [
        line for line in preparation.findings.lines()
        if re.search(pattern, line)
    ]


def test_published_counts_hold_for_a_whole_release(release, tmp_path):
    release('sthv1')
    whole = Preparation('sthv1', tmp_path)
    assert not whole.run()
    assert find(whole, '^error: train: 4 clips are annotated, 86017 are')
    assert find(whole, '^error: val: 2 clips are annotated, 11522 are')
    assert read(whole.problems_file) == whole.findings.lines()
    # An approximate number is never an error.
    release('k400')
    kinetics = Preparation('k400', tmp_path)
    assert kinetics.run()
    assert find(kinetics, '^warning: train: .* about 240000 are published')


def test_unsound_lines_are_reported_and_left_out(release, tmp_path):
    release('sthv1')
    train = tmp_path / 'something-something-v1-train.csv'
    with open(train, 'a') as file:
        file.write(f'11;{release_files.LEFT}\n'  # twice
                   f'21;{release_files.LEFT}\n'  # in val, too
                   f'../../etc;{release_files.LEFT}\n'
                   f'/etc;{release_files.LEFT}\n'
                   f'a b;{release_files.LEFT}\n'
                   '15;Juggling something\n'
                   f'16;{release_files.LEFT}\n')  # no frames
    preparation = Preparation('sthv1', tmp_path, partial_copy=True)
    assert not preparation.run()
    assert [
        line for line in preparation.findings.lines()
        if 'published' not in line
    ] == [
        'error: train: 11 is listed twice; the first is used',
        "error: train: '../../etc' leads out of the folder of the data",
        "error: train: '/etc' leads out of the folder of the data",
        "error: train: 'a b' is empty or has a space, which a list cannot "
        'contain',
        "error: train: 15 has the unknown class 'Juggling something'",
        'error: 21 is in train and in val; val keeps it',
        'warning: train: 16 has no folder',
    ]
    listed = read(tmp_path / 'sthv1_train_list_rawframes.txt')
    assert [line.split()[0] for line in listed] == ['11', '12', '13', '14']
    assert len(read(tmp_path / 'sthv1_val_list_rawframes.txt')) == 2


@pytest.mark.parametrize('number, line, message', [
    (1, 'zfqS-wCJSsw_E_006732_006824_A_0007_0009 99',
     'A_0007_0009 has label 99, which is not from 0 to 98'),
    (1, 'zfqS-wCJSsw_E_006732_006824_A_0007_0009 -1', 'has label -1, which'),
    (0, 'zfqS-wCJSsw_E_006732_006824_A_0001_0002 3',
     '_A_0001_0002 is not in .*_info_v1.1.json'),
])
def test_unsound_elements_are_left_out(release, tmp_path, number, line,
                                       message):
    release('gym99')
    path = tmp_path / 'annotations/gym99_val_element.txt'
    lines = read(path)
    lines[number] = line
    path.write_text('\n'.join(lines) + '\n')
    preparation = Preparation('gym99', tmp_path, partial_copy=True)
    assert not preparation.run()
    assert find(preparation, message)
    assert len(read(tmp_path / 'gym99_val_list_videos.txt')) == 1


def write_elements(path, count):
    """A list of FineGym with a number of elements."""
    path.write_text(''.join(f'a{i}_E_1_2_A_3_4 0\n' for i in range(count)))


def test_version_of_finegym_is_the_named_one(release, tmp_path):
    """In a folder that holds both, with other clips in the older list."""
    release('gym99')
    folder = tmp_path / 'annotations'
    new = folder / 'gym99_train_element_v1.1.txt'
    old = folder / 'gym99_train_element_v1.0.txt'
    old.write_text(''.join(f'{line}\n' for line in read(new)[:3]))
    events = folder / 'finegym_annotation_info_v1.1.json'
    shutil.copy(events, folder / 'finegym_annotation_info_v1.0.json')
    for version, count, published in ((None, 4, 26320), ('v1.0', 3, 20484),
                                      ('v1.1', 4, 26320)):
        preparation = Preparation(
            'gym99', tmp_path, partial_copy=True, version=version)
        assert preparation.run()
        assert len(read(tmp_path / 'gym99_train_list_videos.txt')) == count
        version = version or 'v1.1'
        assert find(
            preparation, f'^warning: train: {count} clips are '
            f'annotated, {published} are published as {version}$')
        assert preparation.format_summary().split()[0] == version
    new.unlink()
    with pytest.raises(FileNotFoundError, match='v1.1.txt or .*, or give ano'):
        Preparation('gym99', tmp_path).run()


@pytest.mark.parametrize(('dataset', 'version', 'counts'),
                         [('gym99', 'v1.1', (26320, 8521)),
                          ('gym99', 'v1.0', (20484, 8521)),
                          ('gym288', 'v1.1', (29334, 9646)),
                          ('gym288', 'v1.0', (22671, 9646))])
def test_published_counts_of_finegym_are_exact(dataset, version, counts,
                                               release, tmp_path):
    release(dataset)
    other = {'v1.0': 'v1.1', 'v1.1': 'v1.0'}[version]
    folder = tmp_path / 'annotations'
    (folder / f'{dataset}_train_element_v1.1.txt').unlink()
    # under a name without the version
    train = folder / f'{dataset}_train_org.txt'
    write_elements(train, counts[0])
    write_elements(folder / f'{dataset}_val_element.txt', counts[1])
    right = Preparation(dataset, tmp_path, version=version)
    right.run()
    assert not find(right, 'are published')
    with pytest.raises(
            ValueError,
            match=f'{train} has the {counts[0]} elemen'
            f'ts of {version}: give --version {version}, or the '):
        Preparation(dataset, tmp_path, version=other).run()
    write_elements(train, counts[0] - 1)
    short = Preparation(dataset, tmp_path, version=version)
    assert not short.run()
    assert find(
        short, f'^error: train: {counts[0] - 1} clips are annotated, '
        f'{counts[0]} are published as {version}')


def test_frames_that_are_missing(release, tmp_path):
    release('sthv1')
    frames = tmp_path / 'rawframes'
    (frames / '11/00007.jpg').unlink()
    shutil.rmtree(frames / '12')
    (frames / '12').mkdir()
    shutil.rmtree(frames / '21')
    preparation = Preparation('sthv1', tmp_path, workers=2)
    assert not preparation.run()
    assert find(preparation,
                'error: train: 11 has 19 images, but no 00007.jpg')
    assert find(preparation, 'error: train: 12 has no 00001.jpg')
    assert find(preparation, 'error: val: 21 has no folder')
    assert [
        line.split()[0]
        for line in read(tmp_path / 'sthv1_train_list_rawframes.txt')
    ] == ['13', '14']
    numbers = preparation.summary
    assert numbers['train']['unreadable'] == 2
    assert numbers['val']['missing'] == 1


def test_videos_that_are_broken(release, tmp_path, videos):
    release('sthv2')
    folder = tmp_path / 'videos'
    (folder / '101.webm').write_bytes(b'')
    (folder / '102.webm').write_bytes(videos['webm'].read_bytes()[:100])
    preparation = Preparation('sthv2', tmp_path, partial_copy=True, workers=2)
    assert not preparation.run()
    assert find(preparation, 'train: 101.webm is an empty file')
    assert find(preparation, 'train: 102.webm .*(is not a video|no frame)')
    assert len(read(tmp_path / 'sthv2_train_list_videos.txt')) == 2
    # With --no-decode the videos are not opened.
    quick = Preparation('sthv2', tmp_path, partial_copy=True, decode=False)
    assert not quick.run()
    assert len(read(tmp_path / 'sthv2_train_list_videos.txt')) == 3


def test_errors_that_are_no_file_s_fault_end_the_check():
    with pytest.raises(FileNotFoundError, match='no.mp4'):
        check_media(count_video_frames, ['no.mp4'], 1)


def test_kinetics_misses_some_and_has_others(release, tmp_path):
    clips = release('k400')
    name = next(iter(clips['train']))
    path = tmp_path / f'videos_train/abseiling/{name}.mp4'
    path.rename(path.with_name('zYxWvUtSrQp_000001_000011.mp4'))
    preparation = Preparation('k400', tmp_path)
    assert preparation.run()
    assert find(preparation, f'^warning: train: {name} has no video')
    assert find(preparation, '^warning: .*videos_train has 1 videos that are')
    listed = read(tmp_path / 'k400_train_list_videos.txt')
    assert len(listed) == 3
    assert listed[1].startswith('tying_knot_(not_on_a_tie)/')
    # as the crawler of Kinetics names them
    (tmp_path / 'videos_train/tying_knot_(not_on_a_tie)').rename(
        tmp_path / 'videos_train/tying knot (not on a tie)')
    spaced = Preparation('k400', tmp_path)
    assert not spaced.run()
    assert find(spaced, "folder 'tying knot .*' has a space, .* underscore")


def test_frames_of_a_release_of_videos(release, tmp_path):
    clips = release('diving48')
    for name in [*clips['train'], *clips['val']]:
        release_files.make_frames(tmp_path / 'rawframes' / name,
                                  'img_{:05}.jpg')
    assert Preparation('diving48', tmp_path, 'rawframes', True).run()
    assert read(
        tmp_path /
        'diving48_train_list_rawframes.txt')[1] == ('_8Vy3dlHg2w_00001 20 10')


def write_official(folder, prefix, classes, frames=20):
    """Lists as the official code has them."""
    names = sorted(classes)
    paths = []
    for split, numbers in ('train', (11, 12)), ('val', (21, 22)):
        path = folder / f'something_{split}.txt'
        sides = release_files.LEFT, release_files.RIGHT
        path.write_text(''.join(f'{prefix}{i} {frames} '
                                f'{names.index(sides[i % 2])}\n'
                                for i in numbers))
        paths.append(str(path))
    return paths


def test_official_lists_count_their_labels_alphabetically(
        release, tmp_path, class_names):
    release('sthv1')
    lists = write_official(tmp_path, '/Dataset/SSV1/', class_names)
    assert Preparation(
        'sthv1', tmp_path, partial_copy=True, official_lists=lists).run()
    right = class_names.index(release_files.RIGHT)
    assert right != sorted(class_names).index(release_files.RIGHT)
    assert read(tmp_path / 'sthv1_train_list_rawframes.txt') == [
        f'11 20 {right}', f'12 20 {class_names.index(release_files.LEFT)}'
    ]
    # where they say, if asked
    lists = write_official(tmp_path, f'{tmp_path / "rawframes"}/', class_names)
    assert Preparation(
        'sthv1',
        tmp_path,
        partial_copy=True,
        official_lists=lists,
        keep_paths=True).run()
    listed = read(tmp_path / 'sthv1_val_list_rawframes.txt')
    assert listed[0].split()[0] == f'{tmp_path / "rawframes"}/21'
    # their numbers of frames are checked
    lists = write_official(tmp_path, '/Dataset/SSV1/', class_names, 21)
    other = Preparation(
        'sthv1', tmp_path, partial_copy=True, official_lists=lists)
    assert not other.run()
    assert find(other, 'train: 11 has 20 frames instead of 21')


@pytest.mark.parametrize(('dataset', 'spoil', 'message'), [
    ('sthv1', lambda root:
     (root / 'something-something-v1-train.csv').unlink(),
     'something-something-v1-train.csv is neither in .*/annotations nor in'),
    ('sthv1', lambda root:
     (root / 'something-something-v1-train.csv').write_text('11\n'),
     'line 1 has 1 columns instead of 2'),
    ('sthv1', lambda root: shutil.rmtree(root / 'rawframes'),
     'folder .*/rawframes does not exist: move or link'),
    ('sthv2', lambda root:
     (root / 'something-something-v2-train.json').write_text('[{"id":'),
     'v2-train.json is not valid JSON'),
    ('sthv2', lambda root:
     (root / 'something-something-v2-train.json').write_text('{}'),
     'v2-train.json holds a dict instead of a list'),
    ('sthv2', lambda root:
     (root / 'something-something-v2-train.json').write_text('[{"id":1}]'),
     "item 0 has no 'template'"),
    ('k400', lambda root: (root / 'kinetics_val.csv').write_text('a,b\n1,2\n'),
     "kinetics_val.csv has no column 'label'"),
    ('gym99', lambda root:
     (root / 'annotations/gym99_val_element.txt').write_text('name x\n'),
     "name: 'x' is not a whole number"),
    ('gym288', lambda root:
     (root / 'annotations/gym288_categories.txt').write_text('no\n'),
     'does not name the classes 0 to 287'),
])
def test_wrong_files_are_named(dataset, spoil, message, release, tmp_path):
    release(dataset)
    spoil(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Preparation(dataset, tmp_path, partial_copy=True).run()
    assert not list(tmp_path.glob('*_list_*'))


@pytest.mark.parametrize(('options', 'message'), [
    (dict(dataset='diving48', official_lists=('a', 'b')), 'has no lists of'),
    (dict(dataset='sthv1', keep_paths=True), 'for --official-lists only'),
    (dict(dataset='sthv1', workers=0), 'workers=0: give 1 or more'),
    (dict(dataset='sthv1', version='v1.0'), 'v1.0: sthv1 has no versions'),
    (dict(dataset='gym99', version='v2'), 'v2: gym99 has v1.1 and v1.0'),
    (dict(dataset='sthv1', root='nowhere'), 'folder nowhere does not exist'),
])
def test_wrong_options_are_refused(options, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Preparation(**{'root': tmp_path, **options})


def test_the_command_says_what_it_found(repo, release, tmp_path):
    release('diving48')
    (tmp_path / 'videos/2x00lRzlTVQ_00000.mp4').unlink()
    done = subprocess.run([
        sys.executable, repo / 'tools/data/prepare.py', 'diving48', tmp_path,
        '--workers', '2'
    ],
                          capture_output=True,
                          text=True)
    assert done.returncode == 1, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[:3]] == [[
        'published', 'annotated', 'missing', 'unreadable', 'listed'
    ], ['train', '~15000', '4', '0', '0',
        '4'], ['val', '~2000', '2', '1', '0', '1']]
    problem = 'error: val: 2x00lRzlTVQ_00000 has no video'
    assert problem in done.stdout.splitlines()
    assert problem in read(tmp_path / 'diving48_problems.txt')
    assert '5/5' not in done.stdout and '4/4' in done.stderr.splitlines()
