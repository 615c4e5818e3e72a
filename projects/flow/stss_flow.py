"""Show the optical flow of a video, from its self-similarities.

Beside each frame is the flow to the next one: the hue is the direction (see
the wheel), the saturation the speed; white is no motion, black is unknown.
Nothing is trained for it.
"""
import argparse
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from estimator import FlowEstimator, estimate_flow

from selfy_mmaction.apis.video import Video, check_video_path, write_video
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.files import printable
from selfy_mmaction.visualization.flow import draw_flow
from selfy_mmaction.visualization.frames import PICTURES, write_picture


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('video', help='video file')
    parser.add_argument(
        '-o',
        '--out',
        type=Path,
        help='video (.mp4, .webm, .gif) or picture (.png, .jpg) to write; '
        'VIDEO_flow.mp4 in the current folder by default')
    parser.add_argument(
        '--fps',
        type=float,
        default=10,
        help='about how many frames per second to compare; 10 by default')
    parser.add_argument(
        '--short-side',
        type=int,
        default=256,
        metavar='PIXELS',
        help='size to resize the frames to; 256 by default. A larger one '
        'finds slower motions, a smaller one faster ones')
    parser.add_argument(
        '--weights',
        help='weights of a ResNet-18: a file, torchvision://resnet18 or the '
        'checkpoint of a recognizer; an untrained one by default')
    return parser.parse_args()


class Sampled:
    """Evenly spaced frames of a video, of even size.

    Args:
        path (str): The video file.
        fps (float): Approximate frames per second; the step between frames
            is constant, so that speeds can be compared.
        short_side (int): Pixels of their shorter side.
    """

    def __init__(self, path: str, fps: float, short_side: int) -> None:
        with contextlib.closing(Video(path)) as video:
            self._step = max(round(video.fps / fps), 1)
            self.fps = video.fps / self._step
        self._path, self._short_side = path, short_side

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames, RGB of type uint8, [H, W, 3]."""
        for frame in itertools.islice(Video(self._path), 0, None, self._step):
            scale = self._short_side / min(frame.shape[:2])
            height, width = (2 * round(scale * n / 2) for n in frame.shape[:2])
            yield cv2.resize(
                frame, (width, height),
                interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    out = args.out or Path(f'{Path(args.video).stem}_flow.mp4')
    is_picture = out.suffix.lower() in PICTURES
    if not is_picture:
        check_video_path(out)
    if not args.fps > 0:
        raise ValueError(f'--fps {args.fps}: give a positive number.')
    if args.short_side < 32:
        raise ValueError(f'--short-side {args.short_side}: give 32 or more.')
    with launch.log_to_stderr():
        estimator = FlowEstimator(args.weights)
    frames = Sampled(args.video, args.fps, args.short_side)
    flows = list(estimate_flow(estimator, frames))
    if not flows:
        raise ValueError(f'{args.video} has one frame at {args.fps:g} frames '
                         'per second: motion needs two.')
    lengths = np.linalg.norm(flows, axis=-1)
    known = lengths[np.isfinite(lengths)]
    # Rare fast motions and outliers must not make all others pale.
    fast = max(1, np.percentile(known, 90)) if known.size else 1
    views = (draw_flow(frame, flow, fast)
             for frame, flow in zip(frames, flows, strict=False))
    if is_picture:
        write_picture(out, list(views))
    else:
        write_video(out, views, frames.fps)
    print(f'Wrote {printable(str(out))}: {len(flows)} frames, '
          f'{frames.fps:.3g} a second; the edge of the wheel is {fast:.1f} '
          'pixels a frame.')


if __name__ == '__main__':
    main()
