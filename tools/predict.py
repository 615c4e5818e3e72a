"""Predict the classes of a video, of each video in a folder, or of a camera.

With --window, or from a camera, it predicts on a sliding window while the
video plays.
"""
from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.files import is_inside, printable

# What takes long to import is imported where it is needed: --help is quick.
if TYPE_CHECKING:
    from selfy_mmaction.apis.inference import Predictor
    from selfy_mmaction.apis.sliding import Frame, Segment
    from selfy_mmaction.apis.video import Video

CAMERA_WINDOW = 2.
# How many classes of each window a timeline shows.
TIMELINE_TOPK = 5


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'video',
        help='video file, a folder with videos at any depth, the index of a '
        'camera, or the address of a network camera (rtsp://, http://)')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint file, or the model that tools/export_onnx.py wrote')
    parser.add_argument(
        '--backend',
        choices=['pytorch', 'onnx'],
        default='pytorch',
        help='the runtime; onnx is ONNX Runtime, on the CPU')
    parser.add_argument(
        '--topk',
        type=int,
        help='how many classes to show; by default 5, or 1 if there is one '
        'line per video or window')
    parser.add_argument(
        '--labels',
        help='text file with one class name per line; by default the names '
        'in the checkpoint, or else the class numbers')
    parser.add_argument(
        '--json', action='store_true', help='print JSON instead of a table')
    parser.add_argument(
        '--window',
        type=float,
        metavar='SECONDS',
        help='predict on a sliding window of this length; by default on the '
        f'whole video, and on {CAMERA_WINDOW:g} seconds of a camera')
    parser.add_argument(
        '--stride',
        type=float,
        metavar='SECONDS',
        help='step from window to window; half a window by default')
    parser.add_argument(
        '--timeline',
        type=Path,
        metavar='FILE.png',
        help='draw the classes over time; for a folder of videos, a folder')
    parser.add_argument(
        '--out',
        type=Path,
        metavar='FILE.mp4',
        help='write the video with the best class on it, as .mp4, .webm or '
        '.gif; for a folder of videos, a folder')
    parser.add_argument(
        '--show',
        action='store_true',
        help='show the video with the best class on it; press q to stop')
    parser.add_argument(
        '--device', help='cpu, cuda:0, ...; a GPU by default if there is one')
    launch.add_config_options(parser)
    return parser.parse_args()


def check_args(args: argparse.Namespace) -> None:
    """Check the arguments, and set those that depend on others."""
    from selfy_mmaction.apis import video as media

    if args.backend == 'onnx' and args.device not in (None, 'cpu'):
        raise ValueError(f'--device {args.device}: --backend onnx computes '
                         'only on the CPU.')
    if args.show and not media.has_display():
        raise ValueError('--show needs a display, and there is none.')
    args.folder = os.path.isdir(args.video)
    if args.window is None and media.is_camera(args.video):
        args.window = CAMERA_WINDOW
    if args.window is None:
        for name in 'stride', 'timeline':
            if getattr(args, name):
                raise ValueError(f'--{name} needs --window SECONDS.')
    elif args.stride is None:
        args.stride = args.window / 2
    if args.topk is None:
        in_lines = (args.folder or args.window) and not args.json
        args.topk = 1 if in_lines else 5
    for name in 'window', 'stride', 'topk':
        value = getattr(args, name)
        if value is not None and not 0 < value < float('inf'):
            raise ValueError(f'--{name} {value:g}: give a positive number.')
    if args.out and not args.folder:
        media.check_video_path(args.out)
        if media.is_camera(args.video) and args.out.suffix.lower() == '.gif':
            raise ValueError(f'--out {args.out}: a GIF is written at the end '
                             'of a video, and a camera has none; use .mp4.')


def output_path(path: Path, video: str, ending: str,
                args: argparse.Namespace) -> Path:
    """The output path for a video: the path itself, or in that folder."""
    if args.folder:
        # in subfolders like the video, since names may occur twice
        name = os.path.relpath(video, args.video)
        path /= name if name.endswith(ending) else name + ending
    if path.exists() and os.path.exists(video) and path.samefile(video):
        raise ValueError(f'--out {path} is the video itself: give another.')
    return path


def show_and_write(frames: Iterable[Frame], video: Video,
                   args: argparse.Namespace) -> None:
    """Show and write the frames of a video, if requested."""
    from selfy_mmaction.apis import video as media
    from selfy_mmaction.visualization.frames import draw_label

    if args.out or args.show:
        frames = (draw_label(*frame) for frame in frames)
    if args.show:
        frames = media.show_video(frames, video)
    if args.out:
        path = output_path(args.out, video.source, '.mp4', args)
        media.write_video(path, frames, video.fps, video.times)
        args.written.append(path)
    else:
        collections.deque(frames, maxlen=0)


def to_row(predictions: list[dict]) -> str:
    """Write predictions as one line of text."""
    return ''.join(f'{p["score"]:9.2%}  {printable(p["name"])}'
                   for p in predictions)


def slide_over(source: str, predictor: Predictor, args: argparse.Namespace,
               say: Callable[[str], None]) -> list[Segment]:
    """Predict on a video with a sliding window."""
    from selfy_mmaction.apis import sliding
    from selfy_mmaction.apis import video as media
    from selfy_mmaction.visualization import charts

    video = media.Video(source)
    topk = max(args.topk, TIMELINE_TOPK) if args.timeline else args.topk
    slide = sliding.SlidingWindow(predictor, video, args.window, args.stride,
                                  topk)
    segments = []
    say(printable(source))

    def report(segment: Segment) -> None:
        segments.append(segment)
        say(f'{segment.start:9.2f} -{segment.end:8.2f} s' +
            to_row(segment.predictions[:args.topk]))

    frames = sliding.follow(video, slide, report)
    if video.is_camera:
        # It ends by an interruption, and is drawn while it runs.
        with contextlib.suppress(KeyboardInterrupt):
            show_and_write(frames, video, args)
    else:
        collections.deque(frames, maxlen=0)
    if args.timeline and segments:
        path = output_path(args.timeline, source, '.png', args)
        charts.draw_timeline(segments, source, path)
        args.written.append(path)
    return segments


def predict_video(source: str, predictor: Predictor, args: argparse.Namespace,
                  say: Callable[[str], None]) -> dict:
    """Predict on a video and return the result, as in the JSON."""
    from selfy_mmaction.apis import sliding
    from selfy_mmaction.apis import video as media

    if args.window:
        segments = slide_over(source, predictor, args, say)
        answer = dict(segments=[
            dict(s._asdict(), predictions=s.predictions[:args.topk])
            for s in segments
        ])
    else:
        best = predictor(source, args.topk)
        segments = [sliding.Segment(0, 0, best)]
        answer = dict(predictions=best)
        if args.folder:
            say(printable(source).ljust(args.width) + to_row(best))
        else:
            say('\n'.join([printable(source), *(to_row([p]) for p in best)]))
    if (args.out or args.show) and not media.is_camera(source):
        video = media.Video(source)
        show_and_write(sliding.label_frames(video, segments), video, args)
    return dict(video=source, **answer)


def list_videos(args: argparse.Namespace) -> list[str]:
    """The videos to predict on, without the output of an earlier run."""
    from selfy_mmaction.datasets.lists import find_videos

    if not args.folder:
        return [args.video]
    videos, _ = find_videos(args.video)
    return [
        video for video in videos
        if not args.out or not is_inside(os.path.abspath(video), args.out)
    ] or videos


def predict(args: argparse.Namespace, stdout: TextIO) -> bool:
    """Predict on the videos and return whether one of them failed."""
    from mmengine.device import get_device

    from selfy_mmaction.apis.inference import VideoPredictor
    from selfy_mmaction.apis.onnx import ONNXPredictor

    videos = list_videos(args)
    args.written = []
    args.width = max(len(printable(video)) for video in videos)
    cfg = launch.load_config(args.config, args.cfg_options)
    if args.backend == 'onnx':
        predictor = ONNXPredictor(cfg, args.checkpoint, args.labels)
    else:
        predictor = VideoPredictor(cfg, args.checkpoint, args.device
                                   or get_device(), args.labels)

    def say(text: str) -> None:
        if not args.json:
            print(text, file=stdout, flush=True)

    answers = []
    for video in videos:
        try:
            answers.append(predict_video(video, predictor, args, say))
        except (OSError, ValueError) as error:
            print(
                f'predict.py: error: {errors.describe_error(error)}',
                file=sys.stderr)
    # apart from the predictions
    for path in args.written:
        print(f'Wrote {printable(str(path))}.', file=sys.stderr)
    if args.json:
        print(json.dumps(answers, indent=2), file=stdout, flush=True)
    return len(answers) < len(videos)


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    check_args(args)
    with launch.log_to_stderr() as stdout:
        sys.exit(predict(args, stdout))


if __name__ == '__main__':
    main()
