"""What a training learns from a set: its classes, maybe from a few clips, or
the direction in which a clip is played."""
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.config import Config, ConfigDict

from selfy_mmaction.datasets.recipes import find_step
from selfy_mmaction.files import write_text

DIRECTIONS = ['forwards', 'backwards']


@TRANSFORMS.register_module()
class ReverseBackwards(BaseTransform):
    """Reverse the frames of a clip of the class 'backwards'.

    The key "imgs", [H, W, 3] each, is modified.
    """

    def transform(self, results: dict) -> dict:
        if results['label'] == DIRECTIONS.index('backwards'):
            results['imgs'] = results['imgs'][::-1]
        return results


def use_direction(cfg: Config) -> None:
    """Change the classes of a config, in place, into forwards and backwards.

    Every clip is in both classes: a network that ignores the order of frames
    answers the same twice, and is right once. The steps remain the same.
    """
    for split in 'train', 'test':
        data = cfg[f'{split}_dataloader'].dataset
        clips = [line.split(data.delimiter)[0] for line in read_list(data)]
        _use_list(cfg, data, 'direction', [
            f'{clip}{data.delimiter}{label}' for clip in clips
            for label in range(len(DIRECTIONS))
        ])
        data.metainfo.classes = DIRECTIONS
        steps = data.pipeline
        place = steps.index(find_step(steps, 'Decode')) + 1
        steps.insert(place, dict(type='ReverseBackwards'))
    flip = find_step(cfg.train_dataloader.dataset.pipeline, 'Flip')
    flip.update(classes=DIRECTIONS, frozen_classes=[])
    cfg.model.cls_head.num_classes = len(DIRECTIONS)


def use_few(cfg: Config, number: int) -> None:
    """Change a config, in place, to train on a number of clips per class,
    evenly spaced in the list, in the same number of steps."""
    data = cfg.train_dataloader.dataset
    of_class = defaultdict(list)
    for line in read_list(data):
        of_class[line.split(data.delimiter)[1]].append(line)
    _use_list(cfg, data, f'few_{number}', [
        lines[i * len(lines) // number] for lines in of_class.values()
        for i in range(number)
    ])


def read_list(data: ConfigDict) -> list[str]:
    """The lines of the list of a data set."""
    return (Path(data.data_root) / data.ann_file).read_text().splitlines()


def _use_list(cfg: Config, data: ConfigDict, name: str,
              lines: Sequence[str]) -> None:
    """Give a data set another list, written beside its own."""
    if data is cfg.train_dataloader.dataset:
        epochs = cfg.train_cfg.max_epochs * len(read_list(data)) / len(lines)
        cfg.train_cfg.max_epochs = round(epochs)
    data.ann_file = f'{name}_{data.ann_file}'
    write_text(Path(data.data_root) / data.ann_file, '\n'.join([*lines, '']))
