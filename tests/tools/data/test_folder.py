"""From a folder of videos to lists."""
import random
import re
import shutil
from collections import Counter

import cv2
import pytest
from mmaction.registry import DATASETS
from mmengine.config import Config
from releases import FolderPreparation
from releases.folder import is_directional
from releases.splitting import Clip, hold_out

from selfy_mmaction.apis.video import Video, write_video
from selfy_mmaction.datasets.recipes import use_folder


@pytest.fixture(scope='module')
def origin(tmp_path_factory, video_dir):
    """Two classes of six clips each, of as many scenes."""
    root = tmp_path_factory.mktemp('mine')
    for side in 'left', 'right':
        (root / f'turn {side}').mkdir()
        for i in range(6):
            shutil.copy(video_dir / f'{side}{i}.mp4', root / f'turn {side}')
    return root


@pytest.fixture
def root(origin, tmp_path):
    return shutil.copytree(origin, tmp_path / 'mine')


def read(path):
    return path.read_text().splitlines()


def listed(root, split):
    """The clips of a list and their classes, as the configs read them."""
    data = DATASETS.build(
        dict(
            type='VideoDataset',
            ann_file=f'folder_{split}_list_videos.txt',
            data_root=str(root),
            data_prefix=dict(video=''),
            delimiter='\t',
            pipeline=[]))
    names = read(root / 'classes.txt')
    infos = map(data.get_data_info, range(len(data)))
    return {
        info['filename'].removeprefix(f'{root}/'): names[info['label']]
        for info in infos
    }


def find(preparation, pattern):
    """The findings that match a pattern."""
    return [
        line for line in preparation.findings.lines()
        if re.search(pattern, line)
    ]


def test_folders_are_classes(root):
    (root / 'turn left/deeper').mkdir()
    (root / 'turn left/left5.mp4').rename(root / 'turn left/deeper/left5.MP4')
    preparation = FolderPreparation(root, val_share=1 / 3)
    assert preparation.run()
    assert read(root / 'classes.txt') == ['turn left', 'turn right']
    train, val = listed(root, 'train'), listed(root, 'val')
    assert not train.keys() & val.keys()
    for clips, number in (train, 4), (val, 2):
        assert Counter(clips.values()) == {
            'turn left': number,
            'turn right': number
        }
        for path, label in clips.items():
            assert (root / path).is_file()
            assert path.startswith(f'{label}/')
    assert [
        line.split()[-3:]
        for line in preparation.format_summary().splitlines()
    ] == [['train', 'val'], ['left', '4', '2'], ['right', '4', '2'],
          ['all', '8', '4']]
    assert preparation.notes == [
        'Wrote classes.txt, folder_train_list_videos.txt, '
        f'folder_val_list_videos.txt to {root}.'
    ]
    assert find(
        preparation, "^warning: .* frozen_classes of the config "
        "names them: 'turn left', 'turn right'$")
    assert read(preparation.problems_file) == preparation.findings.lines()
    before = (root / 'folder_val_list_videos.txt').read_text()
    assert FolderPreparation(root, val_share=1 / 3).run()
    assert (root / 'folder_val_list_videos.txt').read_text() == before
    assert FolderPreparation(root, val_share=1 / 3, seed=1).run()
    assert (root / 'folder_val_list_videos.txt').read_text() != before


def test_groups_of_a_table_stay_together(root, tmp_path):
    lines = ['clip,group,label']
    for i in range(6):
        for side in 'left', 'right':
            lines.append(f'turn {side}/{side}{i}.mp4,scene {i // 2},'
                         f'"to the {side}, slowly"')
    table = tmp_path / 'table.csv'
    # as spreadsheets write it
    table.write_text('\r\n'.join(lines), encoding='utf-8-sig')
    preparation = FolderPreparation(root, table)
    assert preparation.run()
    assert read(root / 'classes.txt') == [
        'to the left, slowly', 'to the right, slowly'
    ]
    scenes = {
        split: {int(path[-5]) // 2
                for path in listed(root, split)}
        for split in ('train', 'val')
    }
    assert len(scenes['val']) == 1 and len(scenes['train']) == 2
    assert not scenes['train'] & scenes['val']


@pytest.mark.parametrize('column, groups, told', [
    ('subject', 3, "warning: column 'subject' of the table is not used: if "
     'its clips must stay on one side of the split, call it group'),
    ('light', 3, "warning: column 'light' of the table is not used$"),
    ('group', 3, "warning: validation has one group alone, 'scene 0': the"),
    ('group', 3, 'warning: 33.3% of the clips are for validation in place of'),
    ('group', 1, "error: all clips are of one group, 'scene 0', which stays"),
])
def test_what_a_table_says_of_groups(root, tmp_path, column, groups, told):
    """As a spreadsheet on Windows in Europe may write it."""
    table = tmp_path / 'table.csv'
    table.write_text(f'clip;label;{column}\n' + ''.join(
        f'turn {side}\\{side}{i}.mp4;{side};scene {i % groups}\n'
        for side in ('left', 'right') for i in range(6)))
    assert FolderPreparation(root).run()  # lists of an earlier run
    preparation = FolderPreparation(root, table)
    assert preparation.run() == preparation.has_lists == (groups > 1)
    assert find(preparation, f'^{told}')
    assert (column == 'group' and groups > 1) == bool(
        [n for n in preparation.notes if 'For validation: scene ' in n])


def write_split(root, tmp_path, parts):
    """A table in which each scene has the next of some parts."""
    lines = ['clip,label,group,split']
    for i in range(6):
        for side in 'left', 'right':
            lines.append(f'turn {side}/{side}{i}.mp4,{side},scene {i // 2},'
                         f'{parts[i % len(parts)]}')
    table = tmp_path / 'table.csv'
    table.write_text('\n'.join(lines))
    return FolderPreparation(root, table)


@pytest.mark.parametrize('parts', [
    ('train', 'train', 'test'),
    ('train', 'val', 'test'),
    ('val', 'train', 'train'),
])
def test_the_split_of_a_table_is_used(repo, root, tmp_path, parts):
    assert FolderPreparation(root).run()  # a random split before
    preparation = write_split(root, tmp_path, parts)
    assert preparation.run()
    for part in 'train', 'val', 'test':
        assert part in parts or not (
            root / f'folder_{part}_list_videos.txt').exists()
    for part in {*parts}:
        numbers = {int(path[-5]) for path in listed(root, part)}
        assert numbers == {i for i in range(6) if parts[i % 3] == part}
    assert find(preparation,
                '^warning: groups on two sides of the split: scene ')
    assert preparation.format_summary().splitlines()[0].split() == [
        part for part in ('train', 'val', 'test') if part in parts
    ]

    cfg = Config.fromfile(repo / 'configs/_base_/datasets/folder.py')
    cfg.val_cfg = dict(type='ValLoop')
    use_folder(cfg, str(root))
    lists = [
        loader and loader.dataset.ann_file.split('_')[1]
        for loader in (cfg.train_dataloader, cfg.val_dataloader,
                       cfg.test_dataloader)
    ]
    validated = 'val' if 'val' in parts else None
    assert lists == ['train', validated, 'test' if 'test' in parts else 'val']
    assert bool(cfg.val_cfg) == bool(cfg.val_evaluator) == bool(validated)


@pytest.mark.parametrize('parts, message', [
    (('train', 'Test'), "has the split 'Test': give train, val, test for"),
    (('train', ''), "has the split '': give train, val, test for every clip"),
    (('train', ), 'no lists are written'),
    (('test', ), 'no lists are written'),
])
def test_an_unsound_split_is_named(root, tmp_path, parts, message):
    preparation = write_split(root, tmp_path, parts)
    assert not preparation.run()
    assert find(preparation, f'^error: .*{message}')
    assert not list(root.glob('folder_*_list_videos.txt'))


def test_what_is_thin_is_said(root, clips):
    write_video(root / 'turn left/short.mp4', clips['left0'][:7], 12)
    (root / 'wave').mkdir()
    # the same clip again, and scaled and compressed anew
    frames = [*Video(str(root / 'turn left/left0.mp4'))]
    write_video(root / 'wave/a.mp4', frames, 12)
    write_video(root / 'wave/b.webm',
                [cv2.resize(frame, (64, 48)) for frame in frames], 12)
    (root / 'once').mkdir()
    write_video(root / 'once/a.mp4', clips['right5'][:, ::-1], 12)
    (root / 'notes').mkdir()
    preparation = FolderPreparation(root)
    assert preparation.run()
    assert find(preparation, 'with fewer than 5 clips: once, wave$')
    assert find(preparation, 'without a validation clip.*: once$')
    assert find(preparation, 'fewer than 8 frames.*: turn left/short.mp4$')
    assert find(
        preparation, r'^warning: \d of \d validation clips look like a '
        'training clip.*wave/(a.mp4|b.webm) and (wave/|turn left/left0.mp4)')
    assert find(preparation, 'without a video, .* not classes: notes$')


def test_different_clips_are_no_copies(root):
    preparation = FolderPreparation(root)
    preparation.run()
    assert not find(preparation, 'look like')


def test_unsound_clips_are_named_and_left_out(root):
    folder = root / 'turn left'
    (folder / 'left0.mp4').write_text('Not a video.')
    (folder / 'left1.mp4').write_bytes(b'')
    (folder / 'left2.mp4').rename(folder / 'a\tb.mp4')
    shutil.copy(folder / 'left3.mp4', root)
    preparation = FolderPreparation(root, workers=2)
    assert not preparation.run()
    assert len(preparation.findings.errors) == 4
    assert find(preparation, 'left0.mp4 is not a video, or is damaged: ')
    assert find(preparation, 'left1.mp4 is an empty file')
    assert find(preparation, r"'turn left/a\\tb.mp4'.*rename it")
    assert find(preparation, "'left3.mp4' has no class")
    clips = listed(root, 'train') | listed(root, 'val')
    assert Counter(clips.values()) == {'turn left': 3, 'turn right': 6}


def test_clips_that_break_off_are_left_out(root, clips):
    for name, codec in ('a.avi', 'MJPG'), ('b.mkv', 'mp4v'):
        path = root / 'turn left' / name
        writer = cv2.VideoWriter(
            str(path), cv2.VideoWriter_fourcc(*codec), 12,
            clips['left0'].shape[2:0:-1])
        for frame in clips['left0']:
            writer.write(frame)
        writer.release()
        data = path.read_bytes()
        path.write_bytes(data[:len(data) * 6 // 10])
    preparation = FolderPreparation(root, workers=2)
    assert not preparation.run()
    assert len(preparation.findings.errors) == 1  # a.avi is shorter
    assert find(preparation, r'turn left/b.mkv ends after \d+ of \d+ bytes$')
    clips = listed(root, 'train') | listed(root, 'val')
    assert Counter(clips.values()) == {'turn left': 7, 'turn right': 6}


def test_unsound_lines_of_a_table(root, tmp_path):
    table = tmp_path / 'table.csv'
    good = [f'turn left/left{i}.mp4,{"ab"[i % 2]}' for i in range(6)]
    table.write_text('\n'.join([
        'clip,label', *good, 'turn left/left0.mp4,b', 'no.mp4,a', '../x.mp4,a',
        'turn left/left1.mp4,', ''
    ]))
    preparation = FolderPreparation(root, table)
    assert not preparation.run()
    assert len(preparation.findings.errors) == 4
    assert find(preparation, 'left0.mp4 is listed twice, as a and as b')
    assert find(preparation, 'no.mp4 does not exist')
    assert find(preparation, "'../x.mp4' leads out of ")
    assert find(preparation, "'turn left/left1.mp4' has no class")
    assert len(listed(root, 'train') | listed(root, 'val')) == 6


@pytest.mark.parametrize('text, message', [
    ('name,label\na,b\n', "table.csv has no column 'clip': its first line"),
    ('clip\na\n', "has no column 'label'"),
    ('clip,label\n\xff', 'is not a csv in UTF-8'),
    ('clip,label\nturn left/left0.mp4,a\n', 'has clips of 1 classes: give'),
    (None, '--csv .* does not exist'),
])
def test_wrong_tables_are_named(root, tmp_path, text, message):
    table = tmp_path / 'table.csv'
    if text:
        table.write_text(text, encoding='latin-1')
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        FolderPreparation(root, table).run()
    assert not list(root.glob('*.txt'))


@pytest.mark.parametrize('names', [('train', 'val'), ('TEST', 'Train')])
def test_folders_of_splits_are_refused(root, names):
    for side, name in zip(('left', 'right'), names, strict=True):
        (root / f'turn {side}').rename(root / name)
    with pytest.raises(
            ValueError, match=f'splits, not classes: {", ".join(names)}. '):
        FolderPreparation(root).run()


@pytest.mark.parametrize('options, message', [
    (dict(val_share=1), '--val-share 1: give a number between 0 and 1'),
    (dict(workers=0), 'workers=0: give 1 or more'),
    (dict(root='nowhere'), 'folder nowhere does not exist: make it'),
])
def test_wrong_options_are_refused(tmp_path, options, message):
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        FolderPreparation(**{'root': tmp_path, **options})


def make_clips(sizes):
    """Clips of groups: group -> class -> how many."""
    return [
        Clip(f'{group}/{label}/{i}', label, group)
        for group, labels in sizes.items() for label, number in labels.items()
        for i in range(number)
    ]


@pytest.mark.parametrize('seed', range(5))
def test_each_class_is_held_out_by_its_share(seed):
    rng = random.Random(seed)
    clips = make_clips({
        f'{label}{i}': {
            label: 1
        }
        for label, number in dict(a=100, b=10, c=4, d=2, e=1).items()
        for i in range(number)
    })
    held = hold_out(clips, 0.2, rng)
    counts = Counter(clip.label for clip in clips if clip.group in held)
    assert counts == dict(a=20, b=2, c=1, d=1)
    # Recordings that show several classes, and one that shows most.
    clips = make_clips({
        'long': dict(a=40, b=2),
        **{
            i: dict(a=2, b=1)
            for i in range(10)
        }, 'only': dict(c=3),
        'p': dict(d=5, c=1),
        'q': dict(d=6)
    })
    held = hold_out(clips, 0.2, rng)
    counts = Counter(clip.label for clip in clips if clip.group in held)
    assert 'long' not in held
    # c has two recordings, of which the smaller shows d, too
    assert 'p' in held and 'q' not in held and 'only' not in held
    assert counts['b'] == 2 and counts['a'] == 4


@pytest.mark.parametrize('name, expected', [
    ('turn left', True),
    ('turnRight', True),
    ('LEFT_HAND', True),
    ('leftwards', True),
    ('spin counter-clockwise', True),
    ('anticlockwise', True),
    ('spin cw', True),
    ('nod up', False),
    ('bright', False),
    ('leftover', False),
    ('copyright', False),
])
def test_directions_in_names(name, expected):
    assert is_directional(name) == expected
