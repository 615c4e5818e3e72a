"""The clips of the motion benchmark, which need matching between frames.

A frame wraps around: cards that leave it on one side enter on the other.
Three cards, cut from one photograph, are a third of the width apart in front
of a part of another one, and move together horizontally. Halfway they
reverse, accelerate or slow down. The position of the cards is random in every
frame and independent of the class; no single frame depends on the class.

Displacements are in *cells*: positions of the map in which the SELFY block of
the benchmark's networks compares frames. A cell is 8 pixels of 24 x 128: the
stem of a ResNet has stride 4, its first stage 1, the block 2. Beyond half of
the distance between two cards, the nearest card in the next frame is another
one. Displacements of `fast` are distributed evenly around the whole distance:
the cards seem to jitter, and only their texture shows in which direction they
moved.
"""
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from motion_clips import (
    PHOTOGRAPHS,
    Clip,
    cut_window,
    number_clips,
    write_dataset,
)


class Motion(NamedTuple):
    """How the clips of a class move."""
    # directions of both halves; 1 is to the right
    before: int
    after: int
    # 1 if the displacement per frame grows, from the lowest third of the range
    # of the split to the highest; -1 if it shrinks; 0 if it is constant
    growth: int = 0


CLASSES = {
    'left, then right': Motion(-1, 1),
    'left, faster': Motion(-1, -1, 1),
    'left, slower': Motion(-1, -1, -1),
    'right, then left': Motion(1, -1),
    'right, faster': Motion(1, 1, 1),
    'right, slower': Motion(1, 1, -1),
}
FRAMES = 8
FPS = 4
CHANGES = (3, 4)  # the last frames of the first half
HEIGHT, WIDTH = 24, 128  # pixels
CELL = 8  # pixels
CARDS = 3
CARD_WIDTH = 36  # pixels


class Split(NamedTuple):
    """The settings of a split."""
    # minimum and maximum cells between two frames of a scene
    displacement: tuple[float, float]
    # the random stream; clips of the same one differ only by the damage
    stream: int
    # that alternate, each with its own cards
    scenes: int = 1
    # of one of the two middle frames
    damage: str | None = None


SLOW, MEDIUM, FAST = (0.25, 0.95), (1., 4.), (14 / 3, 6.)
SPLITS = {
    'slow': Split(SLOW, 0),
    'medium': Split(MEDIUM, 1),
    'fast': Split(FAST, 2),
    # A card is visible again three frames later.
    'long': Split((0.25, 2.5), 3, scenes=3),
    'occluded': Split(MEDIUM, 1, damage='cover'),
    'blurred': Split(MEDIUM, 1, damage='blur'),
}
# Proportions of the one training set; it has no damaged frames.
TRAINED_ON = dict(slow=4, medium=2, fast=2, long=2)


class Tracks(NamedTuple):
    """Positions of the cards."""
    # cells between two frames of a scene in the first half and the second, [2]
    displacement: np.ndarray
    # index of the scene in each frame, [FRAMES]
    scene: np.ndarray
    # left edges, whole pixels from 0 to WIDTH - 1, [FRAMES, CARDS]
    x: np.ndarray


def list_clips(part: str, split: str, num_clips: int, seed: int) -> list[Clip]:
    """The clips of a split for 'train' or 'val', which have photographs of
    their own: every class equally often."""
    kind = list(PHOTOGRAPHS).index(part)
    prefix = 'train_' if part == 'train' else ''
    clip = Clip(f'{prefix}{split}', part, 0,
                (seed, kind, SPLITS[split].stream), split)
    return number_clips(clip, f'{part} clips of a split', num_clips,
                        len(CLASSES))


def draw_tracks(clip: Clip) -> Tracks:
    """Draw the positions of the cards of a clip, frame by frame."""
    rng = np.random.default_rng((*clip.seed, 0))
    split = SPLITS[clip.split]
    motion = list(CLASSES.values())[clip.label]
    displacement = _draw_displacement(split.displacement, motion.growth, rng)
    first, second = displacement * (motion.before, motion.after)
    change = rng.integers(CHANGES[0], CHANGES[1], endpoint=True)
    frames = np.arange(FRAMES)
    # distance in cells: [FRAMES]
    way = first * np.minimum(frames, change) + second * np.maximum(
        frames - change, 0)
    scene = frames % split.scenes
    starts = rng.uniform(0, WIDTH, split.scenes)
    # [FRAMES]
    x = starts[scene] + way * CELL / split.scenes
    # [FRAMES, CARDS]
    x = x[:, None] + np.arange(CARDS) * WIDTH / CARDS
    return Tracks(displacement, scene, x.round().astype(int) % WIDTH)


def _draw_displacement(limits: tuple[float, float], growth: int,
                       rng: np.random.Generator) -> np.ndarray:
    """Cells per frame before and after the change, [2]."""
    if not growth:
        return np.repeat(rng.uniform(*limits), 2)
    least, low, high, most = np.linspace(*limits, 4)
    drawn = np.array([rng.uniform(least, low), rng.uniform(high, most)])
    return drawn[::growth]


def _flatten(image: np.ndarray) -> np.ndarray:
    """Normalise the brightness and contrast of a texture.

    Neither a card nor the background stands out, and no gradient across it
    reveals a position.
    """
    image = image - cv2.GaussianBlur(image, (0, 0), CELL)
    return 120 + 45 * image / (image.std() + 4)


def render_frames(clip: Clip) -> Iterator[np.ndarray]:
    """Yield the frames of a clip, RGB of type uint8, [HEIGHT, WIDTH, 3]."""
    tracks = draw_tracks(clip)
    split = SPLITS[clip.split]
    rng = np.random.default_rng((*clip.seed, 1))
    far, near = rng.choice(PHOTOGRAPHS[clip.photographs], 2, replace=False)
    top = rng.integers(WIDTH - HEIGHT)
    background = _flatten(cut_window(far, WIDTH, rng)[top:top + HEIGHT])
    cards = [[
        _flatten(cut_window(near, 64, rng)[20:20 + HEIGHT, :CARD_WIDTH])
        for _ in range(CARDS)
    ] for _ in range(split.scenes)]
    damaged = rng.integers(FRAMES // 2 - 1, FRAMES // 2, endpoint=True)
    cover = _flatten(cut_window(far, WIDTH, rng)[:HEIGHT])
    for i in range(FRAMES):
        frame = background.copy()
        for card, x in zip(cards[tracks.scene[i]], tracks.x[i], strict=True):
            frame[:, (x + np.arange(CARD_WIDTH)) % WIDTH] = card
        if i == damaged and split.damage == 'cover':
            frame = cover
        elif i == damaged and split.damage == 'blur':
            frame = cv2.blur(frame, (4 * CELL, 1))
        # Camera jitter, exposure and noise of each frame.
        matrix = np.eye(2, 3)
        matrix[:, 2] = rng.uniform(-1, 1, 2)
        frame = cv2.warpAffine(
            frame, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        frame = frame * rng.uniform(0.9, 1.1) + rng.uniform(-10, 10)
        frame = frame + rng.normal(0, 4, frame.shape)
        yield frame.clip(0, 255).round().astype(np.uint8)[..., ::-1]


def render_dataset(out: Path,
                   num_train: int = 4800,
                   num_val: int = 180,
                   seed: int = 0,
                   num_workers: int = 2) -> bool:
    """Render the motion benchmark, unless it is there already.

    Writes ``train.txt``, clips divided among TRAINED_ON; a list for each of
    SPLITS, with photographs that are not in the training set, and ``val.txt``
    with all of these. The rest is as in :func:`motion_clips.render_dataset`.
    """
    settings = dict(kind='benchmark', train=num_train, val=num_val, seed=seed)
    lists = list_dataset(settings)
    lists['val'] = sum((lists[split] for split in SPLITS), [])
    return write_dataset(out, settings, lists, tuple(CLASSES), render_frames,
                         FPS, num_workers)


def list_dataset(settings: dict) -> dict[str, list[Clip]]:
    """The clips defined by ``motion.json``: list -> clips."""
    num_train, num_val, seed = (
        settings[key] for key in ('train', 'val', 'seed'))
    parts = sum(TRAINED_ON.values())
    if num_train % parts:
        raise ValueError(
            f'the train clips should be a multiple of {parts}, the parts '
            f'that they are divided into, but got {num_train}')
    train = [
        clip for split, share in TRAINED_ON.items()
        for clip in list_clips('train', split, num_train // parts *
                               share, seed)
    ]
    return dict(train=train) | {
        split: list_clips('val', split, num_val, seed)
        for split in SPLITS
    }
