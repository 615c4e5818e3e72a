"""Publish a checkpoint: strip it, name it by its content, enter it in the zoo.

Writes NAME_YYYYMMDD-HASH.pth, the entry in configs/metafile.yml and the table
in docs/model_zoo.md.
"""
import argparse
from pathlib import Path

from selfy_mmaction.engine import checkpoint, errors, launch
from selfy_mmaction.evaluation import ensemble, publishing, zoo
from selfy_mmaction.evaluation.dumps import load_dump

ROOT = Path(__file__).resolve().parent.parent


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument(
        '--config',
        type=Path,
        help='its config; by default the one in configs/ that it was trained '
        'with')
    parser.add_argument(
        '--dump',
        metavar='FILE.npz',
        help='the file of tools/test.py --dump for this checkpoint, for its '
        'accuracies')
    parser.add_argument(
        '--out-dir',
        type=Path,
        default=ROOT / 'checkpoints',
        help='folder for the files; checkpoints/ by default')
    parser.add_argument(
        '--url',
        help='URL of the folder that the files will be downloaded from; by '
        'default they are in this repository')
    parser.add_argument(
        '--safetensors',
        action='store_true',
        help='also write the weights in this format, without pickle')
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    saved = checkpoint.load_checkpoint(args.checkpoint)
    config = args.config or publishing.find_config(saved, ROOT)
    if config is None:
        raise ValueError(f'{args.checkpoint} does not name its config in '
                         'configs/: give --config.')
    models = zoo.Zoo(ROOT)
    if config.stem not in models.models:
        raise ValueError(f'{config.stem} is not in {models.metafile}: put it '
                         'in configs/, under the name of its data set, and '
                         'run tools/update_zoo.py.')
    out_dir = args.out_dir.resolve()
    if not args.url and not out_dir.is_relative_to(ROOT):
        raise ValueError(f'--out-dir {args.out_dir} is not in this '
                         'repository: give its --url.')
    accuracies = {}
    if args.dump:
        dump = load_dump(args.dump)
        accuracies = ensemble.get_accuracies(dump.scores, dump.labels)

    published = publishing.strip_checkpoint(saved, args.checkpoint, config)
    path = publishing.save_published(published, config.stem, out_dir)
    if args.safetensors:
        publishing.save_safetensors(published,
                                    path.with_suffix('.safetensors'))
    weights = path.name
    if args.url:
        weights = f'{args.url.rstrip("/")}/{weights}'
    else:
        weights = path.relative_to(ROOT).as_posix()
    models.enter(config.stem, weights, accuracies)
    models.write()
    print(f'{path} ({path.stat().st_size / 1e6:.1f} MB)')
    if not accuracies:
        print('No accuracy was entered: give --dump.')


if __name__ == '__main__':
    main()
