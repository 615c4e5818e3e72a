"""The media of a release: finding them and checking that they are readable."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from selfy_mmaction.datasets.bad_clips import read_parallel
from selfy_mmaction.datasets.video import VideoError, VideoFile
from selfy_mmaction.engine.progress import track

VIDEO_ENDINGS = ('.mp4', '.webm', '.avi', '.mkv')


def index_videos(folder: Path) -> dict[str, str]:
    """Map each video's name without ending to its path in a folder.

    Videos are in the folder, or one level deeper in a folder per class.
    """
    paths = [*sorted(folder.glob('*')), *sorted(folder.glob('*/*'))]
    return {
        path.stem: str(path.relative_to(folder))
        for path in paths if path.suffix.lower() in VIDEO_ENDINGS
    }


def count_video_frames(path: str, decode: bool = True) -> int | str:
    """Number of frames of a video, or what is wrong with it."""
    if not os.path.getsize(path):
        return 'is an empty file'
    if not decode:
        return 1
    try:
        with VideoFile(path) as video:
            return len(video)
    except VideoError as error:
        return error.fault


def count_frames(folder: str, frame_name: str) -> int | str:
    """Number of frames in a folder, or what is wrong with them."""
    names = set(os.listdir(folder))
    number = 0
    while frame_name.format(number + 1) in names:
        number += 1
    ending = os.path.splitext(frame_name)[1]
    images = sum(name.endswith(ending) for name in names)
    if not number:
        return f'has no {frame_name.format(1)}'
    if number < images:
        return f'has {images} images, but no {frame_name.format(number + 1)}'
    return number


def check_media(check: Callable, paths: Sequence[str], workers: int) -> list:
    """Check files in parallel processes, with the progress on stderr.

    What ``check`` finds in each is returned, or text on what is wrong with it.
    """
    if not paths:
        return []
    found = dict(track(read_parallel(check, paths, workers), len(paths)))
    return [found[path] for path in paths]
