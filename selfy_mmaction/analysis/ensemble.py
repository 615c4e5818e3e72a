"""The scores of several tests of the same samples, averaged and reported."""
import csv
import io
import os
import os.path as osp
import pickle
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmaction.evaluation import AccMetric, ConfusionMatrix, get_weighted_score
from mmaction.registry import METRICS
from mmaction.utils import get_str_type
from mmengine.config import Config
from mmengine.evaluator import DumpResults
from mmengine.logging import print_log

from ..engine.checkpoint import is_stored
from ..files import write_bytes


class Dump(NamedTuple):
    """The predictions of a test."""
    path: str
    names: list[str] | None  # files without folder and ending, if known
    labels: np.ndarray  # [N]
    scores: np.ndarray  # [N, K], probabilities


def dump_results(cfg: Config, path: str) -> None:
    """Let a test write its predictions, with the names of the samples.

    Args:
        cfg (Config): The config of the test, which is changed.
        path (str): The pickle file to write.
    """
    if not path.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--dump {path}: give it the ending .pkl.')
    for step in cfg.test_dataloader.dataset.pipeline:
        if get_str_type(step['type']).endswith('PackActionInputs'):
            # MMAction2 keeps no name of a sample unless told to.
            step['meta_keys'] = (*step.get('meta_keys', ()), 'filename',
                                 'frame_dir', 'left_out')
    if not isinstance(cfg.test_evaluator, (list, tuple)):
        cfg.test_evaluator = [cfg.test_evaluator]
    folder = osp.dirname(path) or os.curdir
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OSError(f'--dump {path}: folder {folder} cannot be made '
                      f'({error.strerror}).') from error
    cfg.test_evaluator = [
        *cfg.test_evaluator,
        # Gathered over the network: nodes need not share a folder.
        dict(type='WholeDump', out_file_path=path, collect_device='gpu')
    ]


@METRICS.register_module()
class WholeDump(DumpResults):
    """MMEngine's dump of a test, written whole or not at all."""

    def compute_metrics(self, results: list) -> dict:
        """Write the predictions."""
        write_bytes(self.out_file_path, pickle.dumps(results))
        print_log(f'The predictions are in {self.out_file_path}.', 'current')
        return {}


class _DumpUnpickler(pickle._Unpickler):
    """Reads tensors and plain values, and refuses all else.

    A pickle may call whatever it names: these names suffice for a dump, and
    none of them leads any further. This is the unpickler in Python: the one
    in C makes room for as many objects as a file says that there are.
    """

    # A dump sets no attributes; what a pickle sets could be ours.
    dispatch = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if code != pickle.BUILD[0]
    }

    def find_class(self, module: str, name: str) -> object:
        found = _DUMP_NAMES.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(
                f'{module}.{name} is not part of a dump')
        return found


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'{encoding!r} is not part of a dump')
    return text.encode('latin1')


def _load_storage(data: bytes) -> torch.storage.TypedStorage:
    """PyTorch's own function of this purpose runs what the bytes say."""
    return torch.load(io.BytesIO(data), 'cpu', weights_only=True)


def _rebuild_tensor(*args) -> torch.Tensor:
    tensor = torch._utils._rebuild_tensor_v2(*args)
    if not is_stored(tensor):
        raise pickle.UnpicklingError('a tensor is larger than its values')
    return tensor


_DUMP_NAMES = {
    ('collections', 'OrderedDict'): dict,
    ('_codecs', 'encode'): _encode,
    ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
    ('torch.storage', '_load_from_bytes'): _load_storage,
}


def load_dump(path: str) -> Dump:
    """Read a file that ``tools/test.py --dump`` has written.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a dump of single-label predictions.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'dump {path} does not exist.')
    remedy = 'give one that tools/test.py --dump has written.'
    try:
        with open(path, 'rb') as file:
            content = file.read()
        samples = _DumpUnpickler(io.BytesIO(content)).load()
    # What is raised depends on how a file is broken.
    except Exception as error:
        reason = str(error).split('\n')[0].rstrip('.') or type(error).__name__
        raise ValueError(f'{path} is not a dump ({reason}): '
                         f'{remedy}') from error
    try:
        labels = [int(sample['gt_label'].item()) for sample in samples]
        # The same tensor over and over would be any size when it is stacked.
        if sum(x['pred_score'].nbytes for x in samples) > len(content):
            raise ValueError('more scores than the file has room for')
        scores = np.stack([
            sample['pred_score'].float().numpy() for sample in samples
        ])
        names = sample_names(samples)
        left_out = samples[0].get('left_out')
    except (AttributeError, IndexError, KeyError, OverflowError,
            RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f'{path} holds no predictions with a single label '
                         f'each: {remedy}') from error
    if left_out:
        raise ValueError(f'{path} lacks {left_out} clips that could not be '
                         'read: repair them, and test without --skip-bad.')
    if scores.ndim != 2 or not 0 <= min(labels) <= max(labels) < len(
            scores[0]):
        raise ValueError(f'{path} has labels from {min(labels)} to '
                         f'{max(labels)}, and scores of shape '
                         f'{list(scores.shape)}: {remedy}')
    # half precision adds up to 1 within this, too
    if scores.min() < 0 or not np.allclose(scores.sum(1), 1, atol=0.02):
        raise ValueError(f'{path} holds scores that are no probabilities: '
                         'test with --cfg-options '
                         'model.cls_head.average_clips=prob.')
    return Dump(path, names, np.array(labels), scores)


def sample_names(samples: Sequence[dict]) -> list[str] | None:
    """The samples' files, alike for any data folder, as videos or frames."""
    paths = [
        sample.get('frame_dir') or
        (osp.splitext(sample['filename'])[0] if 'filename' in sample else None)
        for sample in samples
    ]
    if None in paths:
        return None
    folder = osp.commonpath([osp.dirname(path) for path in paths])
    return [osp.relpath(path, folder or os.curdir) for path in paths]


def check_same_samples(dumps: Sequence[Dump]) -> None:
    """Raise unless all dumps are of the same samples, in the same order."""
    first = dumps[0]
    remedy = 'test both on the same list.'
    for other in dumps[1:]:
        if first.scores.shape != other.scores.shape:
            counts = [
                '{} has {} samples of {} classes'.format(
                    dump.path, *dump.scores.shape) for dump in (first, other)
            ]
            raise ValueError(f'{counts[0]}, but {counts[1]}: {remedy}')
        pairs = [('label', first.labels, other.labels)]
        if first.names and other.names:
            pairs.insert(0, ('name', first.names, other.names))
        for what, ours, theirs in pairs:
            differ = np.flatnonzero(np.array(ours) != np.array(theirs))
            if len(differ):
                i = differ[0]
                name = f' ({first.names[i]})' if first.names else ''
                raise ValueError(
                    f'{len(differ)} of {len(ours)} samples have another '
                    f'{what}: number {i}{name} has {what} {ours[i]} in '
                    f'{first.path} and {theirs[i]} in {other.path}; {remedy}')


def average_scores(dumps: Sequence[Dump],
                   weights: Sequence[float] | None = None) -> np.ndarray:
    """Average the probabilities of several dumps.

    Args:
        dumps (Sequence[Dump]): Dumps of the same samples.
        weights (Sequence[float], optional): The weight of each; equal by
            default.

    Returns:
        np.ndarray: The averages, [N, K].
    """
    weights = weights or [1] * len(dumps)
    if len(weights) != len(dumps):
        raise ValueError(f'--weights gives {len(weights)} numbers for '
                         f'{len(dumps)} dumps: give one for each.')
    if min(weights) < 0 or not 0 < sum(weights) < float('inf'):
        raise ValueError(f'--weights {weights}: give positive numbers.')
    check_same_samples(dumps)
    scores = get_weighted_score([dump.scores for dump in dumps], weights)
    return np.array(scores) / sum(weights)


def get_accuracies(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The accuracies in percent, under the names of OpenMMLab's tables."""
    found = AccMetric().calculate(list(scores), labels.tolist())
    return {
        'Top 1 Accuracy': 100 * float(found['top1']),
        'Top 5 Accuracy': 100 * float(found['top5']),
        'Mean Class Accuracy': 100 * float(found['mean1'])
    }


def format_accuracies(rows: Sequence[tuple[str, np.ndarray]],
                      labels: np.ndarray) -> str:
    """A table of the accuracies of named scores, a line each."""
    lines = [['top-1', 'top-5', 'mean class']]
    for _, scores in rows:
        found = get_accuracies(scores, labels)
        lines.append([f'{value:.2f}' for value in found.values()])
    names = [f'{len(labels)} samples', *(name for name, _ in rows)]
    width = max(map(len, names))
    return '\n'.join(f'{name:<{width}}' + ''.join(f'{x:>12}' for x in line)
                     for name, line in zip(names, lines, strict=True))


def get_confusion_matrix(scores: np.ndarray,
                         labels: np.ndarray) -> np.ndarray:
    """How many samples of a class (row) were taken for which (column)."""
    return ConfusionMatrix.calculate(scores, labels).numpy()


def format_class_table(matrix: np.ndarray, classes: Sequence[str]) -> str:
    """The accuracy of each class as CSV, the worst first.

    Args:
        matrix (np.ndarray): The confusion matrix, [K, K].
        classes (Sequence[str]): The names of the classes.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(
        ['label', 'class', 'samples', 'accuracy', 'most often taken for'])
    counts = matrix.sum(1)
    tested = np.flatnonzero(counts)
    accuracies = 100 * matrix.diagonal() / counts.clip(1)
    for i in tested[np.argsort(accuracies[tested], kind='stable')]:
        errors = matrix[i].copy()
        errors[i] = 0
        mistaken = classes[errors.argmax()] if errors.any() else ''
        writer.writerow(
            [i, classes[i], counts[i], f'{accuracies[i]:.2f}', mistaken])
    return file.getvalue()
