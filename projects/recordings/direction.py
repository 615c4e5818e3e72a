"""Forwards or backwards: every clip twice, once played in reverse."""
from pathlib import Path

from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.config import Config

from selfy_mmaction.datasets.pipelines import find_step
from selfy_mmaction.files import write_text

CLASSES = ['forwards', 'backwards']


@TRANSFORMS.register_module()
class ReverseBackwards(BaseTransform):
    """Reverse the frames of a clip of the class 'backwards'.

    The key "imgs", [H, W, 3] each, is modified.
    """

    def transform(self, results: dict) -> dict:
        if results['label'] == CLASSES.index('backwards'):
            results['imgs'] = results['imgs'][::-1]
        return results


def use_direction(cfg: Config) -> None:
    """Change the classes of a config into forwards and backwards.

    Each list gets a list ``direction_...`` beside it, with every clip in both
    classes: a network that ignores the order of frames answers the same twice,
    and is right once. The epochs are half as many, so the steps are the same.

    Args:
        cfg (Config): The config of the classes, changed in place.
    """
    for split in 'train', 'test':
        data = cfg[f'{split}_dataloader'].dataset
        clips = (Path(data.data_root) / data.ann_file).read_text().splitlines()
        data.ann_file = f'direction_{data.ann_file}'
        lines = [
            f'{clip.split(data.delimiter)[0]}{data.delimiter}{label}'
            for clip in clips for label in range(len(CLASSES))
        ]
        write_text(
            Path(data.data_root) / data.ann_file, '\n'.join([*lines, '']))
        data.metainfo.classes = CLASSES
        steps = data.pipeline
        place = steps.index(find_step(steps, 'Decode')) + 1
        steps.insert(place, dict(type='ReverseBackwards'))
    flip = find_step(cfg.train_dataloader.dataset.pipeline, 'Flip')
    flip.update(classes=CLASSES, frozen_classes=[])
    cfg.model.cls_head.num_classes = len(CLASSES)
    cfg.train_cfg.max_epochs //= 2
    cfg.param_scheduler[0].total_steps //= 2
