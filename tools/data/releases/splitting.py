"""Splits of clips that no release has split: seeded, without twins across."""
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from selfy_mmaction.datasets.bad_clips import BadClip, read_video
from selfy_mmaction.datasets.video import VideoError, VideoFile

# Two clips whose thumbnails have a higher correlation count as copies, or as
# cuts of one recording. Among forty of the quickstart's clips, a scaled copy
# has 0.996 or more with its original, two different scenes at most 0.58.
ALIKE = 0.95
THUMBNAIL = 16  # side of a frame's thumbnail, pixels


class Clip(NamedTuple):
    """A clip: its file, its class, the group that must stay together, and
    the part of the split, if it is known."""

    path: str  # below the folder of the data
    label: str
    group: str
    split: str = ''


class Content(NamedTuple):
    """The content of a clip that can be read."""

    frames: int
    thumbnail: np.ndarray  # [K], zero mean, unit length


def read_content(path: str) -> Content:
    """The content of a clip, all frames of which are read.

    Raises:
        BadClip: If that fails.
    """
    try:
        video = VideoFile(path)
    except VideoError as error:
        raise BadClip(error.fault) from error
    # the middles of four segments
    wanted = [(2 * i + 1) * len(video) // 8 for i in range(4)]
    thumbnails = {
        i: cv2.resize(
            frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        for i, frame in enumerate(read_video(video)) if i in wanted
    }
    # [4, 16, 16, 3] => [4, 16, 16] => [K]
    frames = np.stack([thumbnails[i] for i in wanted])
    thumbnail = frames.mean(-1, dtype=np.float32).ravel()
    thumbnail -= thumbnail.mean()
    length = np.linalg.norm(thumbnail)
    return Content(len(video), thumbnail / length if length else thumbnail)


def hold_out(clips: Sequence[Clip], share: float,
             rng: random.Random) -> set[str]:
    """Choose the groups for validation.

    From each class with two groups or more, some clips are chosen: about the
    share, but not all.
    """
    groups = {}
    for clip in clips:
        groups.setdefault(clip.group, Counter())[clip.label] += 1
    total = Counter(clip.label for clip in clips)
    wanted = {
        label: min(max(1, round(share * number)), number - 1)
        for label, number in total.items()
    }
    held, inside = set(), Counter()
    # The rarest class first: it has the least choice.
    for label in sorted(total, key=lambda label: (total[label], label)):
        names = [
            name for name, group in groups.items()
            if label in group and name not in held
        ]
        rng.shuffle(names)
        chosen = []
        for name in names:
            if all(inside[key] + number <= wanted[key]
                   for key, number in groups[name].items()):
                chosen.append(name)
                inside += groups[name]
        if not inside[label]:
            # Each group exceeds the share: take the one with the fewest clips
            # of the class that leaves some for training.
            rest = [
                name for name in names
                if all(inside[key] + number < total[key]
                       for key, number in groups[name].items())
            ]
            if rest:
                chosen = [min(rest, key=lambda name: groups[name][label])]
                inside += groups[chosen[0]]
        held.update(chosen)
    return held


def find_twins(
    train: Sequence[Clip],
    held: Sequence[Clip],
    contents: Mapping[str, Content],
) -> list[tuple[str, str]]:
    """Pairs of a held-out clip and a training clip that look alike."""
    if not train:
        return []
    known = np.stack([contents[clip.path].thumbnail for clip in train])
    twins = []
    for clip in held:
        # [N, K] @ [K] => [N]
        alike = known @ contents[clip.path].thumbnail
        if alike.max() > ALIKE:
            twins.append((clip.path, train[alike.argmax()].path))
    return twins
