"""Show the similarities of a SELFY block on a video, and what it adds.

The picture shows, on top of the frames, the similarity maps of some
positions, the displacements that follow from them, and the energy of what the
block adds.
"""
import argparse
from pathlib import Path

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.files import printable


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('video', help='video file')
    parser.add_argument('config', help='config file of a SELFYNet')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '-o',
        '--out',
        type=Path,
        help='a picture (.png), a page with a slider over the frames (.html) '
        'or a video of them (.mp4, .webm, .gif) to write; VIDEO_stss.png in '
        'the current folder by default')
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        '--position',
        nargs=3,
        type=int,
        action='append',
        metavar=('FRAME', 'ROW', 'COLUMN'),
        help='the query position, counted from 0; repeat it for several')
    chosen.add_argument(
        '--strongest',
        type=int,
        default=1,
        metavar='N',
        help='query the N positions to which the block adds most, of those '
        'inside that move, if any; 1 by default')
    parser.add_argument(
        '--layer',
        help='the layer that the block follows, such as layer2; by default '
        'that of the first block')
    parser.add_argument(
        '--view',
        type=int,
        default=0,
        help='which of the clips and crops of the test pipeline to show, '
        'counted from 0')
    parser.add_argument(
        '--device', help='cpu, cuda:0, ...; a GPU by default if there is one')
    launch.add_config_options(parser)
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from mmengine.device import get_device

    from selfy_mmaction.apis import similarity
    from selfy_mmaction.apis.inference import VideoPredictor
    from selfy_mmaction.visualization import pages
    out = args.out or Path(f'{Path(args.video).stem}_stss.png')
    pages.check_path(out)
    if args.strongest < 1:
        raise ValueError(f'--strongest {args.strongest}: give 1 or more.')
    with launch.log_to_stderr():
        predictor = VideoPredictor(
            launch.load_config(args.config, args.cfg_options), args.checkpoint,
            args.device or get_device())
    seen = similarity.observe(predictor, args.video, args.layer, args.view)
    positions = ([tuple(position) for position in args.position]
                 if args.position else seen.strongest(args.strongest))
    best = seen.predictions[0]
    pages.write(
        out, seen, positions,
        f'{Path(args.video).name}: {best["name"]} ({best["score"]:.0%})')
    for t, y, x in positions:
        print(f'frame {t}, row {y}, column {x}: the block adds '
              f'{seen.energy[t, y, x]:.3g}')
    print(f'Wrote {printable(str(out))}.')


if __name__ == '__main__':
    main()
