"""Miniature data sets, cut from a photograph that Matplotlib ships."""
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from motion_clips import CLASSES

from selfy_mmaction.apis.video import write_video

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def repo() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope='session')
def photo() -> np.ndarray:
    """The photograph, [H, W, 3] in RGB."""
    with get_sample_data('grace_hopper.jpg') as file:
        photo = cv2.imdecode(
            np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)


@pytest.fixture(scope='session')
def clips(photo) -> dict[str, np.ndarray]:
    """Clips of a camera that turns left or right, [T, 100, 132, 3] in BGR."""
    photo = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
    clips = {}
    for i in range(6):
        top, length = 60 * i, 17 + i
        pan = np.stack(
            [photo[top:top + 100, 12 * t:12 * t + 132] for t in range(length)])
        clips[f'right{i}'] = pan
        clips[f'left{i}'] = pan[::-1]
    return clips


@pytest.fixture(scope='session')
def video_dir(tmp_path_factory, clips) -> Path:
    """A folder with each clip as a mp4 file, and a text file."""
    folder = tmp_path_factory.mktemp('videos')
    for name, clip in clips.items():
        writer = cv2.VideoWriter(
            str(folder / f'{name}.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 12,
            clip.shape[2:0:-1])
        for frame in clip:
            writer.write(frame)
        writer.release()
    (folder / 'notes.txt').write_text('Not a video.\n')
    return folder


@pytest.fixture(scope='session')
def turn(tmp_path_factory, clips) -> Path:
    """A video of a camera that turns right, then left: 17 frames each."""
    path = tmp_path_factory.mktemp('turn') / 'turn.mp4'
    frames = np.concatenate([clips['right0'], clips['left0']])
    write_video(path, frames[..., ::-1], 12)
    return path


@pytest.fixture(scope='session')
def motion_root(video_dir, tmp_path_factory) -> Path:
    """These clips in the shape of the motion data set.

    8 clips to train on and 3 to validate on, of two of its classes.
    """
    root = tmp_path_factory.mktemp('motion')
    (root / 'videos').symlink_to(video_dir)
    lines = [
        f'{side}{i}.mp4 {label}\n' for i in range(6)
        for label, side in enumerate(('left', 'right'))
    ]
    (root / 'train.txt').write_text(''.join(lines[:8]))
    (root / 'val.txt').write_text(''.join(lines[8:11]))
    (root / 'classes.txt').write_text('\n'.join(CLASSES))
    return root


@pytest.fixture(scope='session')
def motion_options(motion_root) -> list[str]:
    """Settings that bring the quickstart's config down to these clips."""
    options = ['default_hooks.logger.interval=1']
    for split in 'train', 'val', 'test':
        loader = f'{split}_dataloader'
        options += [
            f'{loader}.batch_size=2',
            f'{loader}.dataset.data_root={motion_root}',
            f'{loader}.dataset.metainfo.classes={motion_root}/classes.txt',
            f'{loader}.dataset.pipeline.3.scale=(32,32)',
        ]
    return options


@pytest.fixture(scope='session')
def class_names(repo) -> list[str]:
    """The classes of Something-Something V1, in the order of its labels."""
    path = repo / 'configs/_base_/datasets/sthv1_classes.txt'
    return path.read_text().splitlines()


@pytest.fixture(scope='session')
def sthv1_root(tmp_path_factory, class_names, clips) -> Path:
    """Frames and lists in the shape of Something-Something V1.

    8 clips to train on and 4 to validate on, of two classes.
    """
    root = tmp_path_factory.mktemp('sthv1')
    lines = []
    for number, (name, clip) in enumerate(clips.items(), 1):
        folder = root / 'rawframes' / str(number)
        folder.mkdir(parents=True)
        for i, frame in enumerate(clip, 1):
            cv2.imwrite(str(folder / f'{i:05}.jpg'), frame)
        side = name.rstrip('0123456789')
        label = class_names.index(
            f'Turning the camera {side} while filming something')
        lines.append(f'{number} {len(clip)} {label}\n')
    for split, part in ('train', lines[:8]), ('val', lines[8:]):
        path = root / f'sthv1_{split}_list_rawframes.txt'
        path.write_text(''.join(part))
    return root
