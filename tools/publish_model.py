"""Publish a network: one small file to give away, and its model card.

DIR gets NAME_YYYYMMDD-HASH.pth, which has the weights, the config, the names
of the classes and the accuracies in it, without the state of the training and
the paths of this machine, and README.md, to be completed by you.
"""
import argparse
from pathlib import Path

from selfy_mmaction.engine import errors, launch

ROOT = Path(__file__).resolve().parent.parent


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument(
        '--out-dir',
        type=Path,
        required=True,
        metavar='DIR',
        help='folder for the files of this network alone')
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
        '--safetensors',
        action='store_true',
        help='also write the weights in this format, without pickle')
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from selfy_mmaction.datasets.recipes import frame_size, stage_pipeline
    from selfy_mmaction.engine.checkpoint import load_checkpoint
    from selfy_mmaction.evaluation import ensemble, publishing
    from selfy_mmaction.evaluation.complexity import get_complexity
    from selfy_mmaction.evaluation.dumps import load_dump
    from selfy_mmaction.files import write_text

    card = args.out_dir / publishing.CARD
    if card.exists():
        raise ValueError(f'{card} exists: give another --out-dir, or move it.')
    saved = load_checkpoint(args.checkpoint)
    config = args.config or publishing.find_config(saved, ROOT)
    if config is None:
        raise ValueError(f'{args.checkpoint} does not name its config in '
                         'configs/: give --config, such as the one that the '
                         'training wrote beside it.')
    cfg = launch.load_config(str(config), {})
    published = publishing.strip_checkpoint(saved, args.checkpoint, cfg)
    labels = ()
    if args.dump:
        dump = load_dump(args.dump)
        labels = dump.labels
        found = ensemble.get_accuracies(dump.scores, labels)
        published['meta']['accuracies'] = {
            name: round(value, 2)
            for name, value in found.items()
        }
    cost = get_complexity(cfg, frame_size(stage_pipeline(cfg, 'train')))
    path = publishing.save_published(published, config.stem, args.out_dir)
    if args.safetensors:
        publishing.save_safetensors(published,
                                    path.with_suffix('.safetensors'))
    write_text(card,
               publishing.format_card(published, path, cfg, cost, len(labels)))
    print(f'{path} ({path.stat().st_size / 1e6:.1f} MB)')
    print(f'{card}: complete what is marked "{publishing.TO_DO}".')


if __name__ == '__main__':
    main()
