"""The metric that writes the predictions of a test to a dump."""
import os
import os.path as osp
from collections.abc import Sequence

from mmaction.registry import METRICS
from mmaction.utils import get_str_type
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ..datasets.recipes import gives_logits, stage_pipelines
from .dumps import KINDS, save_dump

# Meta keys to keep of a sample; LeaveOutHook adds left_out.
_META_KEYS = ('filename', 'frame_dir', 'left_out')


@METRICS.register_module()
class DumpScores(BaseMetric):
    """Writes the predictions of a test to a file.

    Args:
        path (str): The file, with the suffix .npz.
        kind (str): Kind of the scores, one of :data:`KINDS`.
    """

    default_prefix = 'dump'

    def __init__(self, path: str, kind: str) -> None:
        # Gathered over the network: nodes need not share a folder.
        super().__init__(collect_device='gpu')
        self.path = path
        self.kind = kind

    def process(self, data_batch: object,
                data_samples: Sequence[dict]) -> None:
        """Keep what the dump needs from a batch.

        Raises:
            ValueError: If a sample has no single label, or several rows of
                scores.
        """
        for sample in data_samples:
            label, scores = sample.get('gt_label', ()), sample['pred_score']
            if len(label) != 1 or scores.ndim != 1:
                raise ValueError(
                    f'--dump {self.path}: a sample has {len(label)} labels '
                    f'and scores of shape {list(scores.shape)}, where a dump '
                    'has one label and one row of scores: test without it.')
            meta = {key: sample[key] for key in _META_KEYS if key in sample}
            self.results.append(
                dict(
                    meta,
                    label=label.item(),
                    scores=scores.float().cpu().numpy()))

    def compute_metrics(self, results: list[dict]) -> dict:
        """Write the predictions of all processes."""
        classes = (self.dataset_meta or {}).get('classes') or ()
        save_dump(self.path, results, self.kind, list(classes))
        print_log(f'The predictions are in {self.path}.', 'current')
        return {}


def dump_results(cfg: Config, path: str) -> None:
    """Make a test write its predictions, with the names of the samples.

    Args:
        cfg (Config): The config of the test, which is changed.
        path (str): The file to write.

    Raises:
        ValueError: If the suffix of the file is not .npz.
        OSError: If its folder cannot be created.
    """
    if not path.endswith('.npz'):
        raise ValueError(f'--dump {path}: give it the ending .npz.')
    folder = osp.dirname(path) or os.curdir
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OSError(f'--dump {path}: folder {folder} cannot be created '
                      f'({error.strerror}).') from error
    for pipeline in stage_pipelines(cfg, 'test'):
        for step in pipeline:
            if get_str_type(step['type']).endswith('PackActionInputs'):
                # By default MMAction2 keeps no name of a sample.
                step['meta_keys'] = (*step.get('meta_keys', ()), *_META_KEYS)
    if not isinstance(cfg.test_evaluator, (list, tuple)):
        cfg.test_evaluator = [cfg.test_evaluator]
    cfg.test_evaluator = [
        *cfg.test_evaluator,
        dict(
            type='mmaction.DumpScores',
            path=path,
            kind=KINDS[gives_logits(cfg)])
    ]
