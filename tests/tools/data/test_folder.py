"""From a folder of videos to lists."""
import random
import re
import shutil
from collections import Counter

import cv2
import pytest
from mmengine.config import Config
from releases import FolderPreparation
from releases.folder import is_directional
from releases.splitting import Clip, hold_out

from selfy_mmaction.apis.video import Video, write_video
from selfy_mmaction.datasets.recipes import use_folder

# Two classes of six clips each, of as many scenes.
CLIPS = [(side, i, f'turn {side}/{side}{i}.mp4') for side in ('left', 'right')
         for i in range(6)]


@pytest.fixture
def root(tmp_path, video_dir):
    for side, i, clip in CLIPS:
        path = tmp_path / 'mine' / clip
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video_dir / f'{side}{i}.mp4', path)
    return tmp_path / 'mine'


@pytest.fixture
def prepare(root, tmp_path):
    """Prepare clips by a table of these lines; it is sound, or not."""

    def prepare(lines, sound=True, **encoding):
        table = tmp_path / 'table.csv'
        table.write_text('\n'.join(lines), **encoding)
        preparation = FolderPreparation(root, table)
        assert preparation.run() == sound
        return preparation

    return prepare


def read(path):
    return path.read_text().splitlines()


def listed(root, split):
    """The clips of a list and their classes."""
    names = read(root / 'classes.txt')
    lines = read(root / f'folder_{split}_list_videos.txt')
    rows = (line.split('\t') for line in lines)
    return {path: names[int(label)] for path, label in rows}


def missing(preparation, *patterns):
    """Those of some patterns that no finding matches."""
    text = '\n'.join(preparation.findings.lines())
    return [x for x in patterns if not re.search(x, text, re.M)]


def test_folders_are_classes(root):
    (root / 'turn left/deeper').mkdir()
    (root / 'turn left/left5.mp4').rename(root / 'turn left/deeper/left5.MP4')
    preparation = FolderPreparation(root, val_share=1 / 3)
    assert preparation.run()
    assert read(root / 'classes.txt') == ['turn left', 'turn right']
    train, val = listed(root, 'train'), listed(root, 'val')
    assert not train.keys() & val.keys()
    for path, label in (train | val).items():
        assert (root / path).is_file()
        assert path.startswith(f'{label}/')
    assert len(train) == 8 and len(val) == 4
    assert [
        line.split()[-3:]
        for line in preparation.format_summary().splitlines()
    ] == [['train', 'val'], ['left', '4', '2'], ['right', '4', '2'],
          ['all', '8', '4']]
    assert preparation.notes == [
        'Wrote classes.txt, folder_train_list_videos.txt, '
        f'folder_val_list_videos.txt to {root}.'
    ]
    # Different clips do not look alike.
    assert missing(
        preparation, 'look like', '^warning: .* frozen_classes of the config '
        "names them: 'turn left', 'turn right'$") == ['look like']
    assert read(preparation.problems_file) == preparation.findings.lines()
    for seed in 0, 1:
        assert FolderPreparation(root, val_share=1 / 3, seed=seed).run()
        assert (listed(root, 'val') == val) == (seed == 0)


def test_groups_of_a_table_stay_together(root, prepare):
    """As a spreadsheet writes the table."""
    preparation = prepare(
        ['clip,group,label\r'] + [
            f'{clip},scene {i // 2},"to the {side}, slowly"\r'
            for side, i, clip in CLIPS
        ],
        encoding='utf-8-sig')
    assert read(root / 'classes.txt') == [
        'to the left, slowly', 'to the right, slowly'
    ]
    scenes = {
        split: {f'scene {int(path[-5]) // 2}'
                for path in listed(root, split)}
        for split in ('train', 'val')
    }
    held, = scenes['val']
    assert len(scenes['train']) == 2 and held not in scenes['train']
    assert f'For validation: {held}.' in preparation.notes
    assert not missing(
        preparation,
        f"^warning: validation has one group alone, '{held}': the",
        '^warning: 33.3% of the clips are for validation in place of 20.0%')


def test_columns_that_keep_no_clips_apart(root, prepare):
    """In a table as Windows in Europe may write it."""
    preparation = prepare(['clip;label;subject;light'] + [
        f'turn {side}\\{side}{i}.mp4;{side};{i % 3};{i % 3}'
        for side, i, _ in CLIPS
    ])
    assert preparation.has_lists
    assert not any('For validation' in note for note in preparation.notes)
    assert not missing(
        preparation, "^warning: column 'subject' of the table is not used: if "
        'its clips must stay on one side of the split, call it group',
        "^warning: column 'light' of the table is not used$")

    single = prepare(
        ['clip,label,group', *(f'{x},{side},one' for side, _, x in CLIPS)],
        sound=False)
    assert not single.has_lists  # not those of the earlier run either
    assert not missing(single,
                       "^error: all clips are of one group, 'one', which st")


def split_by(parts):
    """A table in which each scene has the next of some parts."""
    return ['clip,label,group,split'] + [
        f'{clip},{side},scene {i // 2},{parts[i % len(parts)]}'
        for side, i, clip in CLIPS
    ]


@pytest.mark.parametrize('parts', [
    ('train', 'train', 'test'),
    ('train', 'val', 'test'),
    ('val', 'train', 'train'),
])
def test_the_split_of_a_table_is_used(repo, root, prepare, parts):
    assert FolderPreparation(root).run()  # a random split before
    preparation = prepare(split_by(parts))
    names = [part for part in ('train', 'val', 'test') if part in parts]
    assert {path.name.split('_')[1]
            for path in root.glob('folder_*_list_*')} == {*names}
    for part in names:
        numbers = {int(path[-5]) for path in listed(root, part)}
        assert numbers == {i for i in range(6) if parts[i % 3] == part}
    assert not missing(preparation,
                       '^warning: groups on two sides of the split: scene ')
    assert preparation.format_summary().splitlines()[0].split() == names

    cfg = Config.fromfile(repo / 'configs/_base_/datasets/folder.py')
    cfg.val_cfg = dict(type='ValLoop')
    use_folder(cfg, str(root))
    lists = [
        loader and loader.dataset.ann_file.split('_')[1]
        for loader in (cfg.train_dataloader, cfg.val_dataloader,
                       cfg.test_dataloader)
    ]
    assert lists == ['train', 'val' if 'val' in parts else None, names[-1]]
    assert bool(cfg.val_cfg) == bool(cfg.val_evaluator) == ('val' in parts)


@pytest.mark.parametrize('parts, messages', [
    (('train', 'Test', ''),
     ("has the split 'Test': give train, val, test for",
      "has the split '': give train, val, test for every clip",
      'split of the table has train alone; no lists are written')),
    (('test', ), ('no clip is left for training; no lists are written', )),
])
def test_an_unsound_split_is_named(root, prepare, parts, messages):
    preparation = prepare(split_by(parts), sound=False)
    assert not missing(preparation, *(f'^error: .*{x}' for x in messages))
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
    assert not missing(
        preparation, 'with fewer than 5 clips: once, wave$',
        'without a validation clip.*: once$',
        'fewer than 8 frames.*: turn left/short.mp4$',
        r'^warning: \d of \d validation clips look like a training clip.*'
        'wave/(a.mp4|b.webm) and (wave/|turn left/left0.mp4)',
        'without a video, .* not classes: notes$')


def test_unsound_clips_are_named_and_left_out(root, clips):
    folder = root / 'turn left'
    (folder / 'left0.mp4').write_text('Not a video.')
    (folder / 'left1.mp4').write_bytes(b'')
    (folder / 'left2.mp4').rename(folder / 'a\tb.mp4')
    shutil.copy(folder / 'left3.mp4', root)
    # two that break off: the first is only shorter
    for name, codec in ('a.avi', 'MJPG'), ('b.mkv', 'mp4v'):
        writer = cv2.VideoWriter(
            str(folder / name), cv2.VideoWriter_fourcc(*codec), 12,
            clips['left0'].shape[2:0:-1])
        for frame in clips['left0']:
            writer.write(frame)
        writer.release()
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:len(data) * 6 // 10])
    preparation = FolderPreparation(root, workers=2)
    assert not preparation.run()
    assert len(preparation.findings.errors) == 5
    assert not missing(
        preparation, 'left0.mp4 is not a video, or is damaged: ',
        'left1.mp4 is an empty file', r"'turn left/a\\tb.mp4'.*rename it",
        "'left3.mp4' has no class",
        r'turn left/b.mkv ends after \d+ of \d+ bytes$')
    kept = listed(root, 'train') | listed(root, 'val')
    assert Counter(kept.values()) == {'turn left': 4, 'turn right': 6}


def test_unsound_lines_of_a_table(root, prepare):
    lines = [f'{clip},{"ab"[i % 2]}' for _, i, clip in CLIPS[:6]]
    lines += [
        'turn left/left0.mp4,b', 'no.mp4,a', '../x.mp4,a',
        'turn left/left1.mp4,', ''
    ]
    preparation = prepare(['clip,label', *lines], sound=False)
    assert len(preparation.findings.errors) == 4
    assert not missing(preparation, 'left0.mp4 is listed twice, as a and as b',
                       'no.mp4 does not exist', "'../x.mp4' leads out of ",
                       "'turn left/left1.mp4' has no class")
    assert len(listed(root, 'train') | listed(root, 'val')) == 6


@pytest.mark.parametrize('text, message', [
    ('name,label\na,b\n', "table.csv has no column 'clip': its first line"),
    ('clip\na\n', "has no column 'label'"),
    ('clip,label\n\xff', 'is not a csv in UTF-8'),
    ('clip,label\nturn left/left0.mp4,a\n', 'has clips of 1 classes: give'),
])
def test_wrong_tables_are_named(root, prepare, text, message):
    with pytest.raises(ValueError, match=message):
        prepare([text], encoding='latin-1')
    assert not list(root.glob('*.txt'))


@pytest.mark.parametrize('options, message', [
    (dict(val_share=1), '--val-share 1: give a number between 0 and 1'),
    (dict(workers=0), 'workers=0: give 1 or more'),
    (dict(root='nowhere'), 'folder nowhere does not exist: make it'),
    (dict(table='no.csv'), '--csv no.csv does not exist'),
    ({}, 'are splits, not classes: TEST, Train. '),
])
def test_wrong_arguments_are_refused(root, options, message):
    for side, name in ('left', 'TEST'), ('right', 'Train'):
        (root / f'turn {side}').rename(root / name)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        FolderPreparation(**{'root': root, **options}).run()


@pytest.mark.parametrize('seed', range(5))
def test_each_class_is_held_out_by_its_share(seed):

    def hold(groups):
        """The groups that are held out, and their clips by class."""
        held = hold_out([
            Clip(f'{group}/{i}', label, group)
            for group, labels in groups.items()
            for i, label in enumerate(labels)
        ], 0.2, random.Random(seed))
        return held, Counter(''.join(groups[group] for group in held))

    numbers = dict(a=100, b=10, c=4, d=2, e=1).items()
    _, counts = hold({f'{x}{i}': x for x, n in numbers for i in range(n)})
    assert counts == dict(a=20, b=2, c=1, d=1)
    # Recordings that show several classes, and one that shows most.
    groups = {f'{i}': 'aab' for i in range(10)}
    groups.update(long=40 * 'a' + 'bb', only='ccc', p='dddddc', q='dddddd')
    held, counts = hold(groups)
    assert 'long' not in held
    # c has two recordings, of which the smaller shows d, too
    assert 'p' in held and 'q' not in held and 'only' not in held
    assert counts['b'] == 2 and counts['a'] == 4


def test_directions_in_names():
    for name in ('turn left', 'turnRight', 'LEFT_HAND', 'leftwards',
                 'spin counter-clockwise', 'anticlockwise', 'spin cw'):
        assert is_directional(name), name
    for name in 'nod up', 'bright', 'leftover', 'copyright':
        assert not is_directional(name), name
