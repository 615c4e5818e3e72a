"""Using recognizers that were exported as ONNX models, see export.py.

Needs ``onnxruntime``.
"""
import importlib
import json
import os.path as osp
from types import ModuleType

import torch
from mmengine.config import Config
from torch import Tensor

from ..datasets.recipes import (
    clip_frames,
    frame_size,
    gives_logits,
    stage_pipeline,
)
from .inference import Predictor


def require(package: str) -> ModuleType:
    """Import a package of the extra ``onnx``."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f'{package} cannot be imported ({error}): pip install '
            'onnx onnxscript onnxruntime') from error


def normalize(clips: Tensor, mean: Tensor, std: Tensor,
              to_rgb: bool) -> Tensor:
    """[N, T, 3, H, W], raw => normalised as by a data preprocessor"""
    return ((clips.flip(2) if to_rgb else clips).float() - mean) / std


def clip_shape(cfg: Config) -> tuple[int, int, int, int]:
    """Shape of a clip of the test pipeline: (frames, 3, H, W)."""
    frames = clip_frames(cfg)
    if frames is None:
        raise ValueError(
            f'the backbone {cfg.model.backbone.type} of the config takes any '
            'number of frames, which an ONNX model does not: use one with '
            'num_segments, such as ResNetTSM with is_shift=False.')
    return frames, 3, *frame_size(stage_pipeline(cfg, 'test'))


def _read_meta(texts: dict[str, str]) -> dict:
    """Read the metadata that `export.write_model` writes.

    Raises:
        KeyError, RecursionError, TypeError, ValueError: If it is invalid.
    """
    meta = {
        key: json.loads(texts[key])
        for key in ('clip_shape', 'raw', 'mean', 'std', 'to_rgb')
    }
    meta['classes'] = json.loads(texts.get('classes', '[]'))
    meta['multi_label'] = json.loads(texts.get('multi_label', 'false')) is True
    sizes, (mean, std) = meta['clip_shape'], (meta['mean'], meta['std'])
    if not (len(sizes) == 4 and all(type(size) is int for size in sizes)
            and len(mean) == len(std) == 3 and all(
                isinstance(x, (int, float))
                for x in (*mean, *std)) and isinstance(meta['classes'], list)
            and all(isinstance(name, str) for name in meta['classes'])):
        raise ValueError('not the metadata of a recognizer')
    return meta


class ONNXClassifier:
    """An exported recognizer in ONNX Runtime, on the CPU.

    It uses as many threads as PyTorch would.

    Args:
        path (str): The model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If tools/export_onnx.py did not write it, or ONNX Runtime
            is missing.
    """

    def __init__(self, path: str):
        runtime = require('onnxruntime')
        if not osp.isfile(path):
            raise FileNotFoundError(f'ONNX model {path} does not exist.')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(
                str(path),
                options,
                providers=['CPUExecutionProvider'],
                enable_fallback=0)
        # Its exceptions have no other common base.
        except Exception as error:
            raise ValueError(f'{path} is not an ONNX model that ONNX Runtime '
                             f'{runtime.__version__} can read.') from error
        try:
            self.meta = _read_meta(
                self._session.get_modelmeta().custom_metadata_map)
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(
                f'{path} was not written by '
                'tools/export_onnx.py: export it with that.') from error
        self.clip_shape = tuple(self.meta['clip_shape'])
        self._path = path

    def __call__(self, clips: Tensor) -> Tensor:
        """[N, T, 3, H, W], as exported => probabilities [N, classes]"""
        try:
            probabilities, = self._session.run(None, {'clips': clips.numpy()})
        except Exception as error:
            raise ValueError(f'{self._path} cannot be run on clips of '
                             f'{clips.dtype} {tuple(clips.shape)}: export it '
                             'with tools/export_onnx.py.') from error
        return torch.from_numpy(probabilities)

    def classify_raw(self, clips: Tensor) -> Tensor:
        """[N, T, 3, H, W], uint8 => probabilities [N, classes]"""
        if not self.meta['raw']:
            # [3] => [3, 1, 1]
            mean, std = (
                torch.tensor(self.meta[key])[:, None, None]
                for key in ('mean', 'std'))
            clips = normalize(clips, mean, std, self.meta['to_rgb'])
        return self(clips)

    def to_logits(self, probabilities: Tensor, most: float = 1.) -> Tensor:
        """[..., classes] => logits, up to a constant if of a softmax.

        Args:
            probabilities (Tensor): The probabilities.
            most (float): Larger ones of a multi-label network, whose logits
                are rounded, count as this.
        """
        finfo = torch.finfo(probabilities.dtype)
        p = probabilities.clamp(finfo.tiny, 1)
        if not self.meta['multi_label']:
            return p.log()
        p = p.clamp(max=min(most, 1 - finfo.eps))
        return p.log() - (-p).log1p()


class ONNXPredictor(Predictor):
    """An exported recognizer that predicts on video files.

    Args:
        cfg (Config): The config that it was exported with, for its test
            pipeline.
        path (str): The model.
        labels (str, optional): A file with one class name per line. By
            default the names in the model.
    """

    def __init__(self, cfg: Config, path: str, labels: str | None = None):
        self.classifier = ONNXClassifier(path)
        self._averages_logits = gives_logits(cfg)
        names = self.classifier.meta['classes']
        super().__init__(cfg, path, names, len(names), labels)
        theirs, ours = self.classifier.clip_shape, clip_shape(cfg)
        if theirs != ours:
            raise ValueError(
                f'{path} takes clips of shape {theirs}, but the config makes '
                f'{ours}: use the config that it was exported with.')

    def _probabilities(self, frames: dict) -> Tensor:
        # [V * T, 3, H, W] => [V, T, 3, H, W], V views
        clips = frames['inputs'].unflatten(0,
                                           (-1, self.classifier.clip_shape[0]))
        probabilities = self.classifier.classify_raw(clips)
        if not self._averages_logits:
            return probabilities.mean(0)
        logits = self.classifier.to_logits(probabilities).mean(0)
        return (logits.sigmoid()
                if self.classifier.meta['multi_label'] else logits.softmax(-1))
