"""Enter configs and published networks in the model zoo of this repository.

Writes configs/metafile.yml and the tables of docs/model_zoo.md. Without
arguments it describes all configs again and measures their complexity, which
takes a while; what was published stays.
"""
import argparse
from pathlib import Path

from selfy_mmaction.engine import errors, launch

ROOT = Path(__file__).resolve().parent.parent


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'entry',
        nargs='?',
        type=Path,
        help='enter only this: a config in configs/, or a file of '
        'tools/publish_model.py, with its epochs and accuracies')
    parser.add_argument(
        '--url',
        help='URL of the folder that the file will be downloaded from; by '
        'default it is in this repository')
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from selfy_mmaction.engine.checkpoint import load_checkpoint
    from selfy_mmaction.evaluation import publishing, zoo

    models = zoo.Zoo(ROOT)
    if args.entry is None:
        models.update()
    elif args.entry.suffix == '.py':
        models.update([args.entry.stem])
    else:
        name = publishing.config_name(args.entry)
        meta = load_checkpoint(str(args.entry)).get('meta', {})
        models.update([name])
        models.enter(args.entry, meta, args.url)
    models.write()
    print(f'{len(models.models)} configs in {models.metafile}.')


if __name__ == '__main__':
    main()
