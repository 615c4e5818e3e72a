"""Miniature releases: six clips each, in the formats of the originals.

Every function writes annotations and media into a folder and returns the
labels that the clips have by name.
"""
import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np

LEFT = 'Turning the camera left while filming something'
RIGHT = 'Turning the camera right while filming something'
FRAMES = 20


def make_video(path: Path) -> Path:
    """A small video of noise, in the codec of its ending."""
    codec = {'.mp4': 'mp4v', '.webm': 'VP80'}[path.suffix]
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*codec), 12, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(FRAMES):
        writer.write(rng.integers(256, size=(48, 64, 3), dtype=np.uint8))
    writer.release()
    return path


def read_classes(repo: Path, dataset: str) -> list[str]:
    """The classes that come with the configs."""
    path = repo / f'configs/_base_/datasets/{dataset}_classes.txt'
    return path.read_text().splitlines()


def sthv1(root: Path, repo: Path, **_) -> dict[str, dict[str, str]]:
    """csv files and folders of frames."""
    clips = dict(
        train={str(i): (LEFT, RIGHT)[i % 2]
               for i in (11, 12, 13, 14)},
        val={
            '21': LEFT,
            '22': RIGHT
        })
    (root / 'something-something-v1-labels.csv'
     ).write_text('\n'.join(read_classes(repo, 'sthv1')) + '\n')
    for split, name in ('train', 'train'), ('val', 'validation'):
        (root / f'something-something-v1-{name}.csv').write_text(''.join(
            f'{i};{label}\n' for i, label in clips[split].items()))
    (root / 'something-something-v1-test.csv').write_text('31\n')
    for name in [*clips['train'], *clips['val']]:
        make_frames(root / 'rawframes' / name, '{:05}.jpg')
    return clips


def make_frames(folder: Path, frame_name: str) -> None:
    """A folder of equal frames."""
    folder.mkdir(parents=True)
    frame = np.zeros((48, 64, 3), np.uint8)
    content = cv2.imencode('.jpg', frame)[1].tobytes()
    for i in range(1, FRAMES + 1):
        (folder / frame_name.format(i)).write_bytes(content)


def sthv2(root: Path, repo: Path, webm: Path,
          **_) -> dict[str, dict[str, str]]:
    """JSON lists, templates in brackets, and webm files."""
    clips = dict(
        train={
            '101': LEFT,
            '102': RIGHT,
            '103': LEFT,
            '104': 'Folding '
            'something'
        },
        val={
            '201': LEFT,
            '202': RIGHT
        })
    names = read_classes(repo, 'sthv2')
    write_json(root / 'something-something-v2-labels.json', {
        name: str(i)
        for i, name in enumerate(names)
    })
    for split, name in ('train', 'train'), ('val', 'validation'):
        write_json(root / f'something-something-v2-{name}.json', [
            dict(
                id=i,
                label=label.replace('something', 'a cup'),
                template=label.replace('something', '[something]'),
                placeholders=['a cup']) for i, label in clips[split].items()
        ])
    write_json(root / 'something-something-v2-test.json', [dict(id='301')])
    copy_videos(root / 'videos', webm, [*clips['train'], *clips['val']])
    return clips


def k400(root: Path, mp4: Path, **_) -> dict[str, dict[str, str]]:
    """csv files and a folder of videos per class."""
    clips = dict(
        train={
            f'{"abcd"[i]}-Bc_eFg{i}hI_0000{i}0_0000{i + 1}0': label
            for i, label in enumerate(
                ['abseiling', 'zumba', 'tying knot (not on a tie)', 'zumba'])
        },
        val={
            'kLmNoPqRsT0_000007_000017': 'zumba',
            'kLmNoPqRsT1_000107_000117': 'abseiling'
        })
    for split, of_split in clips.items():
        with open(root / f'kinetics_{split}.csv', 'w', newline='') as file:
            rows = csv.writer(file)
            rows.writerow(
                ['label', 'youtube_id', 'time_start', 'time_end', 'split'])
            for name, label in of_split.items():
                video, start, end = name.rsplit('_', 2)
                rows.writerow([label, video, int(start), int(end), split])
                copy_videos(root / f'videos_{split}' / label.replace(' ', '_'),
                            mp4, [name])
    return clips


def diving48(root: Path, repo: Path, mp4: Path,
             **_) -> dict[str, dict[str, str]]:
    """JSON lists with the labels of V1 and V2."""
    names = read_classes(repo, 'diving48')
    write_json(root / 'Diving48_vocab.json',
               [name.split('+') for name in names])
    clips = dict(
        train={f'_8Vy3dlHg2w_0000{i}': 10 * i
               for i in range(4)},
        val={
            '2x00lRzlTVQ_00000': 47,
            '2x00lRzlTVQ_00001': 0
        })
    for split, name in ('train', 'train'), ('val', 'test'):
        for version, shift in ('', 1), ('V2_', 0):
            write_json(root / f'Diving48_{version}{name}.json', [
                dict(
                    vid_name=clip,
                    label=(label + shift) % 48,
                    start_frame=0,
                    end_frame=FRAMES) for clip, label in clips[split].items()
            ])
    copy_videos(root / 'videos', mp4, [*clips['train'], *clips['val']])
    return {
        split: {
            name: names[label]
            for name, label in of_split.items()
        }
        for split, of_split in clips.items()
    }


def gym(root: Path, mp4: Path, **_) -> dict[str, dict[str, int]]:
    """Events and elements, and the lists of Gym99 and Gym288."""
    clips = dict(
        train={
            f'0LtLS9wROrk_E_002407_002435_A_000{i}_0005': 20 * i
            for i in range(4)
        },
        val={
            'zfqS-wCJSsw_E_006732_006824_A_0000_0007': 98,
            'zfqS-wCJSsw_E_006732_006824_A_0007_0009': 0
        })
    events = {}
    for name in [*clips['train'], *clips['val']]:
        video, event, element = name[:11], name[12:27], name[28:]
        events.setdefault(video, {}).setdefault(
            event, dict(event=1, segments={}, timestamps=[[2407, 2435]]))
        events[video][event]['segments'][element] = dict(
            stages=1, timestamps=[[0.5, 2.5]])
    # an event whose elements are not annotated
    events['zfqS-wCJSsw']['E_000001_000002'] = dict(
        event=2, segments=None, timestamps=[[1, 2]])
    folder = root / 'annotations'
    folder.mkdir()
    write_json(folder / 'finegym_annotation_info_v1.1.json', events)
    for dataset in 'gym99', 'gym288':
        for split, name in (('train', 'train_element_v1.1'), ('val',
                                                              'val_element')):
            (folder / f'{dataset}_{name}.txt').write_text(''.join(
                f'{clip} {label}\n' for clip, label in clips[split].items()))
    (folder / 'gym288_categories.txt').write_text(''.join(
        f'Clabel: {i}; set: {i // 20}; Glabel: {i + 3}; (VT) salto {i} turn\n'
        for i in range(288)))
    copy_videos(root / 'subactions', mp4, [*clips['train'], *clips['val']])
    return clips


RELEASES = dict(
    sthv1=sthv1,
    sthv2=sthv2,
    k400=k400,
    diving48=diving48,
    diving48_v1=diving48,
    gym99=gym,
    gym288=gym)


def write_json(path: Path, content) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content))


def copy_videos(folder: Path, video: Path, names: list[str]) -> None:
    """Put a video into a folder under several names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(video, folder / f'{name}{video.suffix}')
