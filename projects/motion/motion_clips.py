"""The quickstart's clips: small mp4 files of eight motions.

A clip shows a part of a photograph and, in front of it, an object cut from
another photograph. Five numbers describe a frame: the camera's position in
the photograph (x and y), the object's in the view (x and y), and the zoom.
Every clip draws a track for each of the five; its class determines which are
played, and in which direction. The others stay at a random point of their
track. So single frames have the same distribution in every class, and only
the order of the frames is informative.
"""
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from filelock import FileLock

from selfy_mmaction.apis.video import write_video
from selfy_mmaction.engine.progress import track
from selfy_mmaction.files import write_text

# Class name -> the numbers that are played, and their direction. x points to
# the right, y downwards. A static object moves against the camera. A class and
# its neighbour are the same clips, played backwards.
MOTIONS = {
    'camera pans left': dict(camera_x=-1, object_x=1),
    'camera pans right': dict(camera_x=1, object_x=-1),
    'camera tilts up': dict(camera_y=-1, object_y=1),
    'camera tilts down': dict(camera_y=1, object_y=-1),
    'camera zooms in': dict(zoom=1),
    'camera zooms out': dict(zoom=-1),
    'object moves left': dict(object_x=-1),
    'object moves right': dict(object_x=1),
}
CLASSES = tuple(MOTIONS)

# Photographs in the wheel of scikit-image. The splits share none.
PHOTOGRAPHS = {
    'train': ('astronaut', 'brick', 'camera', 'coffee', 'coins', 'gravel',
              'hubble_deep_field', 'stereo_motorcycle'),
    'val': ('chelsea', 'grass', 'immunohistochemistry', 'rocket'),
}

FRAMES = 24
FPS = 12
SIZE = 96  # side of a frame, pixels
# Lengths below are in side lengths of a frame, zooms are natural logarithms.
SHIFTS = (0.5, 0.8)
ZOOMS = (np.log(1.6), np.log(2.2))
OBJECT_SIDE = (0.35, 0.45)
SCENE = 2.4  # side of the scene, which contains the view at every track's end
SCENE_SIZE = 288  # the same in pixels
WINDOW = (200, 300)  # side of the window of a photograph, pixels


class Clip(NamedTuple):
    """The settings that a clip is rendered from."""
    name: str
    photographs: str  # key of PHOTOGRAPHS
    label: int
    seed: tuple
    split: str = ''  # of the benchmark


def list_clips(split: str, num_clips: int, seed: int) -> list[Clip]:
    """The clips of a split: every class equally often."""
    stream = list(PHOTOGRAPHS).index(split)
    return number_clips(
        Clip(split, split, 0, (seed, stream)), f'{split} clips', num_clips,
        len(CLASSES))


def number_clips(clip: Clip, what: str, count: int,
                 classes: int) -> list[Clip]:
    """As many clips of each class, which differ in name, label and seed."""
    if count <= 0 or count % classes:
        raise ValueError(f'the {what} should be a positive multiple of '
                         f'{classes}, the number of classes, but got {count}')
    return [
        clip._replace(
            name=f'{clip.name}_{i:04d}.mp4',
            label=i % classes,
            seed=(*clip.seed, i)) for i in range(count)
    ]


@cache
def load_photograph(name: str) -> np.ndarray:
    """A photograph of scikit-image as a BGR array of [H, W, 3]."""
    try:
        from skimage import data  # needed to render, not to train
    except ImportError as error:
        raise ValueError('the clips are rendered from photographs of '
                         'scikit-image, which is not installed: pip install '
                         'scikit-image.') from error
    image = getattr(data, name)()
    if isinstance(image, tuple):  # a stereo pair: the left view
        image = image[0]
    code = cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR
    return cv2.cvtColor(image, code)


def cut_window(name: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random square window of a photograph, turned and tinted at random."""
    photograph = load_photograph(name)
    windows = []
    for _ in range(4):
        side = int(rng.integers(*WINDOW))
        y, x = (int(rng.integers(n - side)) for n in photograph.shape[:2])
        windows.append(photograph[y:y + side, x:x + side])
    # Without texture no motion is visible: keep the most textured window.
    window = max(windows, key=lambda w: cv2.Laplacian(w, cv2.CV_32F).std())
    window = cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA)
    window = np.rot90(window, rng.integers(4))
    if rng.integers(2):
        window = window.transpose(1, 0, 2)
    tinted = window * rng.uniform(0.7, 1.3, size=3)
    return tinted.clip(0, 255).astype(np.float32, order='C')


def draw_tracks(label: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The five numbers of every frame: name -> [FRAMES]."""
    x, y = rng.uniform(*SHIFTS, size=2)
    zoom = rng.uniform(*ZOOMS)
    spans = dict(camera_x=x, camera_y=y, object_x=x, object_y=y, zoom=zoom)
    tracks = {}
    for name, span in spans.items():
        track = span * np.linspace(-0.5, 0.5, FRAMES)
        moment = rng.integers(FRAMES)
        direction = MOTIONS[CLASSES[label]].get(name)
        if direction:
            tracks[name] = track[::direction]
        else:
            tracks[name] = np.full(FRAMES, track[moment])
    return tracks


def render_frames(clip: Clip) -> Iterator[np.ndarray]:
    """Yield the frames of a clip, RGB of type uint8, [SIZE, SIZE, 3]."""
    rng = np.random.default_rng(clip.seed)
    names = rng.choice(PHOTOGRAPHS[clip.photographs], size=2, replace=False)
    scene = cut_window(names[0], SCENE_SIZE, rng)
    scene_scale = SIZE * SCENE / SCENE_SIZE
    side = rng.uniform(*OBJECT_SIDE)
    thing = cut_window(names[1], SCENE_SIZE // 4, rng)
    thing_scale = SIZE * side / len(thing)
    mask = np.zeros(thing.shape, np.float32)
    cv2.circle(mask, (len(thing) // 2, ) * 2,
               len(thing) // 2 - 2, (1, 1, 1), cv2.FILLED)

    tracks = draw_tracks(clip.label, rng)
    for i in range(FRAMES):
        state = {name: track[i] for name, track in tracks.items()}
        zoom = np.exp(state['zoom'])
        frame = _place(scene, -state['camera_x'] * zoom,
                       -state['camera_y'] * zoom, scene_scale * zoom)
        place = partial(
            _place,
            x=state['object_x'] * zoom,
            y=state['object_y'] * zoom,
            scale=thing_scale * zoom)
        alpha = place(mask)
        frame = alpha * place(thing) + (1 - alpha) * frame
        yield frame.round().astype(np.uint8)[..., ::-1]


def _place(image: np.ndarray, x: float, y: float, scale: float) -> np.ndarray:
    """A frame that shows ``image`` about (x, y); (0, 0) is the middle."""
    centre = (len(image) - 1) / 2
    matrix = np.array([[scale, 0, 0.], [0, scale, 0]])
    matrix[:, 2] = (np.array([x, y]) * SIZE + (SIZE - 1) / 2 - scale * centre)
    return cv2.warpAffine(image, matrix, (SIZE, SIZE))


def render_dataset(out: Path,
                   num_train: int = 1600,
                   num_val: int = 400,
                   seed: int = 0,
                   num_workers: int = 2) -> bool:
    """Render the motion data set, unless it is there already.

    Writes ``train.txt`` and ``val.txt`` in the format of
    :class:`mmaction.datasets.VideoDataset`, ``classes.txt`` and ``videos/``.

    Returns:
        bool: Whether anything had to be rendered.
    """
    settings = dict(train=num_train, val=num_val, seed=seed)
    splits = {
        split: list_clips(split, settings[split], seed)
        for split in PHOTOGRAPHS
    }
    return write_dataset(out, settings, splits, CLASSES, render_frames, FPS,
                         num_workers)


def write_dataset(out: Path, settings: dict, splits: dict[str, list[Clip]],
                  classes: Sequence[str], render: Callable, fps: int,
                  num_workers: int) -> bool:
    """Write the videos and lists of a data set, unless they are there.

    The folder is renamed when it is complete, so that no later run takes an
    interrupted one for complete.

    Args:
        out (Path): Folder of the data set.
        settings (dict): The settings of the clips; kept in ``motion.json``.
        splits (dict[str, list]): Name of a list -> its clips.
        classes (Sequence[str]): Names of the classes.
        render (Callable): Yields the frames of a clip.
        fps (int): Frames per second.
        num_workers (int): Number of threads.

    Returns:
        bool: Whether anything had to be written.
    """
    if num_workers < 1:
        raise ValueError(f'num_workers should be 1 or more, but got '
                         f'{num_workers}')
    out.parent.mkdir(parents=True, exist_ok=True)
    # If two processes render the same data set, one waits for the other.
    with FileLock(out.with_name(f'.{out.name}.lock')):
        if out.exists():
            try:
                found = json.loads((out / 'motion.json').read_text())
            except (OSError, RecursionError, ValueError):
                found = None
            if found != settings:
                raise FileExistsError(
                    f'{out} holds something other than the requested motion '
                    f'clips, {settings}: remove it or choose another folder')
            return False
        unfinished = out.with_name(out.name + '.partial')
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / 'videos').mkdir(parents=True)
        # each once: lists may share clips
        clips = list(dict.fromkeys(sum(splits.values(), [])))
        # Threads: OpenCV releases the GIL, and may hang in a forked process.
        with ThreadPool(num_workers) as pool:
            written = pool.imap(
                lambda clip: write_video(unfinished / 'videos' / clip.name,
                                         render(clip), fps), clips)
            deque(track(written, len(clips)), maxlen=0)
        for split, clips in splits.items():
            lines = [f'{clip.name} {clip.label}\n' for clip in clips]
            write_text(unfinished / f'{split}.txt', ''.join(lines))
        write_text(unfinished / 'classes.txt', '\n'.join(classes) + '\n')
        write_text(unfinished / 'motion.json', json.dumps(settings))
        unfinished.rename(out)
    return True
