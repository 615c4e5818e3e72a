"""Show the optical flow of a video, from its self-similarities.

Beside each frame is the flow to the next one: the hue is the direction (see
the wheel), the saturation the speed; white is no motion, black is unknown.
Nothing is trained for it.
"""
import argparse
import contextlib
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from estimator import STRIDE, FlowEstimator, estimate_flow
from PIL import Image

from selfy_mmaction.apis.video import Video, check_video_path, write_video
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.engine.progress import track
from selfy_mmaction.files import printable, write_bytes
from selfy_mmaction.visualization.flow import color_wheel, flow_to_color

PICTURES = ('.png', '.jpg', '.jpeg')
# Maximum number of frames in a column and in a row of a picture.
_ROWS, _COLUMNS = 4, 2


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
        default=160,
        metavar='PIXELS',
        help='size to resize the frames to; 160 by default. A larger one '
        'finds slower motions, a smaller one faster ones')
    parser.add_argument(
        '--weights',
        help='weights of a ResNet-18: a file, torchvision://resnet18 or the '
        'checkpoint of a recognizer; an untrained one by default')
    return parser.parse_args()


def sample_frames(path: str, step: int,
                  short_side: int) -> Iterator[np.ndarray]:
    """Every ``step``-th frame, resized to even sides, [H, W, 3]."""
    for frame in itertools.islice(Video(path), 0, None, step):
        scale = short_side / min(frame.shape[:2])
        height, width = (2 * round(scale * n / 2) for n in frame.shape[:2])
        yield cv2.resize(
            frame, (width, height),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def draw_flow(frame: np.ndarray, flow: np.ndarray,
              max_length: float) -> np.ndarray:
    """Put the motion, in colours, beside a frame.

    [H, W, 3] => [H, 2 * W, 3], RGB of type uint8, with the colour wheel in a
    corner, and beside it the length of full saturation, in pixels.
    """
    height, width = frame.shape[:2]
    # Position (i, j) is the middle of STRIDE x STRIDE pixels.
    colors = flow_to_color(flow, max_length).repeat(STRIDE, 0)
    colors = np.pad(
        colors.repeat(STRIDE, 1), ((0, height), (0, width), (0, 0)), 'edge')
    colors = colors[STRIDE // 2:][:height, STRIDE // 2:][:, :width].copy()
    side = min(height, width) // 5
    colors[:side, :2 * side] = 255
    colors[:side, :side] = color_wheel(side)
    cv2.putText(colors, f'{max_length:.0f} px', (side + 2, side // 2 + 4),
                cv2.FONT_HERSHEY_SIMPLEX, side / 110, (0, 0, 0), 1,
                cv2.LINE_AA)
    return np.concatenate([frame, colors], 1)


def write_picture(path: Path, views: Sequence[np.ndarray]) -> None:
    """Write evenly spaced views of a video, [H, W, 3] each, as one picture."""
    count = min(_ROWS * _COLUMNS, len(views))
    # with a white gap between them
    chosen = [
        np.pad(
            views[i * len(views) // count], ((0, 6), (0, 6), (0, 0)),
            constant_values=255) for i in range(count)
    ]
    columns = min(_COLUMNS, count)
    chosen += [np.full_like(chosen[0], 255)] * (-count % columns)
    rows = [
        np.concatenate(chosen[i:i + columns], 1)
        for i in range(0, len(chosen), columns)
    ]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(
        file,
        Image.registered_extensions()[path.suffix.lower()])
    write_bytes(path, file.getvalue())


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
    with contextlib.closing(Video(args.video)) as video:
        step = max(round(video.fps / args.fps), 1)
        fps, total = video.fps / step, video.total_frames
    sampled = args.video, step, args.short_side
    flows = estimate_flow(estimator, sample_frames(*sampled))
    if total and total > step:
        flows = track(flows, math.ceil(total / step) - 1)
    flows = list(flows)
    if not flows:
        raise ValueError(f'{args.video} has one frame at {args.fps:g} frames '
                         'per second: motion needs two.')
    lengths = np.linalg.norm(flows, axis=-1)
    known = lengths[np.isfinite(lengths)]
    # Rare fast motions and outliers must not make all others pale.
    fast = max(1, np.percentile(known, 90)) if known.size else 1
    views = (
        draw_flow(frame, flow, fast)
        for frame, flow in zip(sample_frames(*sampled), flows, strict=False))
    if is_picture:
        write_picture(out, list(views))
    else:
        write_video(out, views, fps)
    print(f'Wrote {printable(str(out))}: {len(flows)} frames, {fps:.3g} a '
          f'second; the edge of the wheel is {fast:.1f} pixels a frame.')


if __name__ == '__main__':
    main()
