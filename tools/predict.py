"""Predict the classes of a video, or of each video in a folder."""
import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TextIO

from mmengine.device import get_device

from selfy_mmaction.engine import launch
from selfy_mmaction.engine.inference import VideoPredictor
from selfy_mmaction.engine.onnx import ONNXPredictor

SUFFIXES = ('.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg',
            '.webm', '.wmv')


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(description=__doc__)
    parser.add_argument('video', help='video file, or a folder of them')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint file, or the model that tools/export_onnx.py wrote')
    parser.add_argument(
        '--backend',
        choices=['pytorch', 'onnx'],
        default='pytorch',
        help='what computes; onnx is ONNX Runtime, on the CPU')
    parser.add_argument(
        '--topk',
        type=int,
        default=5,
        help='how many classes to show; 5 by default')
    parser.add_argument(
        '--labels',
        help='text file with the name of a class per line; by default the '
        'names in the checkpoint, or else the class numbers')
    parser.add_argument(
        '--json', action='store_true', help='print JSON instead of a table')
    parser.add_argument(
        '--device', help='cpu, cuda:0, ...; a GPU by default if there is one')
    launch.add_config_options(parser)
    return parser.parse_args()


def find_videos(path: Path) -> list[Path]:
    """Return the video itself, or the videos in a folder."""
    if not path.is_dir():
        return [path]
    videos = sorted(
        file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not videos:
        raise FileNotFoundError(
            f'folder {path} holds no video ({", ".join(SUFFIXES)}).')
    return videos


def to_table(video: str, predictions: list[dict]) -> str:
    """Write the predictions on a video as lines of text."""
    lines = [f'  {best["score"]:7.2%}  {best["name"]}' for best in predictions]
    return '\n'.join([video, *lines])


def predict(args: argparse.Namespace, stdout: TextIO) -> bool:
    """Predict on the videos and return whether one of them failed."""
    videos = find_videos(Path(args.video))
    cfg = launch.load_config(args.config, args.cfg_options)
    if args.backend == 'onnx':
        predictor = ONNXPredictor(cfg, args.checkpoint, args.labels)
    else:
        predictor = VideoPredictor(cfg, args.checkpoint,
                                   args.device or get_device(), args.labels)
    answers = []
    for video in map(str, videos):
        try:
            predictions = predictor(video, args.topk)
        except (OSError, ValueError) as error:
            print(f'predict.py: error: {error}', file=sys.stderr)
            continue
        answers.append(dict(video=video, predictions=predictions))
        if not args.json:
            print(to_table(**answers[-1]), file=stdout, flush=True)
    if args.json:
        print(json.dumps(answers, indent=2), file=stdout)
    return len(answers) < len(videos)


@launch.one_line_errors
def main() -> None:
    args = parse_args()
    if args.topk < 1:
        raise ValueError(f'--topk {args.topk}: give 1 or more.')
    if args.backend == 'onnx' and args.device not in (None, 'cpu'):
        raise ValueError(f'--device {args.device}: --backend onnx computes on '
                         'the CPU alone.')
    # Standard output is for the predictions alone; MMEngine logs there.
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        sys.exit(predict(args, stdout))


if __name__ == '__main__':
    main()
