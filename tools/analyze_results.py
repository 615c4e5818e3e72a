"""Draw the results of a test: accuracies, confusions and their clips.

    python tools/test.py CONFIG CHECKPOINT --dump DUMP.npz
    python tools/analyze_results.py CONFIG DUMP.npz OUT_DIR

OUT_DIR gets classes.csv and classes.png, the accuracy of each class;
matrix.png, the confusion matrix; and confusions.png, clips of the most
frequent confusions.
"""
import argparse
import os
import os.path as osp

import numpy as np
from mmaction.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope

from selfy_mmaction.datasets.bad_clips import (
    base_datasets,
    catch_bad_clips,
    clip_name,
)
from selfy_mmaction.datasets.lists import numbered_classes, read_classes
from selfy_mmaction.datasets.recipes import clip_frames
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.engine.hooks import name_bad_clip
from selfy_mmaction.evaluation import dumps, ensemble
from selfy_mmaction.evaluation.confusions import find_confusions
from selfy_mmaction.files import printable, write_text
from selfy_mmaction.visualization import charts


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('config', help='config file of the test')
    parser.add_argument('dump', help='.npz file of tools/test.py --dump')
    parser.add_argument('out_dir', help='folder for the pictures')
    parser.add_argument(
        '--labels',
        metavar='FILE',
        help='names of the classes, one per line; by default those in '
        'the dump, or numbers')
    parser.add_argument(
        '--pairs',
        type=int,
        default=8,
        help='how many confusions to show; 8 by default')
    launch.add_config_options(parser)
    return parser.parse_args()


def check_dataset(dump: dumps.Dump, dataset: BaseDataset) -> None:
    """Raise a ValueError unless a dump is of the clips of a data set."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    listed = dump._replace(
        path=', '.join(part.ann_file for part in base_datasets(dataset)),
        scores=np.empty((len(infos), dump.scores.shape[1])),
        labels=np.array([info['label'] for info in infos]),
        names=dumps.sample_names(infos))
    ensemble.check_same_samples([dump, listed])


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    if args.pairs < 1:
        raise ValueError(f'--pairs {args.pairs}: give 1 or more.')
    cfg = launch.load_config(args.config, args.cfg_options)
    dump = dumps.load_dump(args.dump)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    catch_bad_clips(dataset, name_bad_clip)
    check_dataset(dump, dataset)
    scores = dump.probabilities
    num_classes = scores.shape[1]
    classes = dump.classes or numbered_classes(num_classes)
    if args.labels:
        classes = read_classes(args.labels, num_classes, args.dump)
    print(ensemble.format_accuracies([dump], scores))

    os.makedirs(args.out_dir, exist_ok=True)
    table, bars, matrix_picture, clips = (
        osp.join(args.out_dir, name)
        for name in ('classes.csv', 'classes.png', 'matrix.png',
                     'confusions.png'))
    matrix = ensemble.get_confusion_matrix(scores, dump.labels)
    write_text(table, ensemble.format_class_table(matrix, classes))
    charts.draw_class_bars(matrix, classes, bars)
    charts.draw_confusion_matrix(matrix, classes, matrix_picture)

    worst = find_confusions(scores, dump.labels, args.pairs)
    for confusion in worst:
        print(f'{len(confusion.clips):4} of {confusion.total}: '
              f'{printable(classes[confusion.truth])}, taken for: '
              f'{printable(classes[confusion.found])}')

    def show(i: int) -> tuple[np.ndarray, str]:
        # [V * T, 3, H, W] or [V, 3, T, H, W] => [V * T, 3, H, W], V views
        frames = dataset[i]['inputs']
        frames = frames.movedim(1, -3).flatten(0, -4)[:clip_frames(cfg)]
        # of the first view, [T, H, W, 3]
        frames = frames.permute(0, 2, 3, 1).byte().numpy()
        name = osp.basename(clip_name(dataset.get_data_info(i)))
        return frames, f'{name} ({scores[i].max():.0%})'

    if worst:
        charts.draw_confusions(worst, classes, show, clips)
    print(f'Drew them to {args.out_dir}.')


if __name__ == '__main__':
    main()
