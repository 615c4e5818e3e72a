"""Recognizers to ONNX models: writing and verifying them.

Needs the packages of the extra ``onnx``.
"""
import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Iterator, Sequence

import torch
from mmaction.structures import ActionDataSample
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..files import replaced_when_done
from .inference import (
    VideoPredictor,
    is_multi_label,
    predict_probabilities,
    to_probabilities,
)
from .onnx import ONNXClassifier, clip_shape, normalize, require

# ONNX Runtime supports it since 1.17.
OPSET = 20
# Of logits, relative to their standard deviation over the classes: the error
# of float32 when a deep network is summed in another order.
_TOLERANCE = 1e-3
# The sigmoids whose logits are exact enough for that.
_HIGHEST = 0.999


class ClipClassifier(nn.Module):
    """A recognizer as a function of clips.

    Args:
        recognizer (BaseModel): A Recognizer2D.
        raw (bool): Whether clips are uint8 frames, which it normalises, or
            already normalised.
    """

    def __init__(self, recognizer: BaseModel, raw: bool):
        super().__init__()
        self.recognizer = recognizer
        self.raw = raw

    def forward(self, clips: Tensor) -> Tensor:
        """[N, T, 3, H, W] => probabilities [N, classes]"""
        if self.raw:
            how = self.recognizer.data_preprocessor
            clips = normalize(clips, how.mean, how.std, how.to_rgb)
        scores = self.recognizer(clips, mode='tensor', stage='head')
        return to_probabilities(self.recognizer.cls_head, scores)


def export(predictor: VideoPredictor,
           cfg: Config,
           path: str,
           fuse: bool = False,
           raw: bool = False,
           opset: int = OPSET,
           video: str | None = None) -> dict[str, float]:
    """Write a recognizer as an ONNX model, after verifying it.

    Args:
        predictor (VideoPredictor): The recognizer, on the CPU.
        cfg (Config): Its config.
        path (str): The file to write. An existing file is kept unless the
            new model is verified.
        fuse (bool): Whether to fold batch norms into convolutions first.
        raw (bool): Whether the model takes uint8 frames and normalises
            them, or normalised ones.
        opset (int): Version of the operators.
        video (str, optional): A video to verify the model on, too.

    Returns:
        dict[str, float]: The largest difference to the probabilities of
        PyTorch, on random clips and on the video.

    Raises:
        ValueError: If the recognizer cannot be exported, or the model
            differs from it.
    """
    shape = clip_shape(cfg)
    with replaced_when_done(path) as unverified:
        write_model(predictor.model, str(unverified), shape, fuse, raw, opset,
                    predictor.classes)
        classifier = ONNXClassifier(str(unverified))
        generator = torch.Generator().manual_seed(0)
        # Other numbers of clips than in the export.
        differences = [
            verify(predictor.model, classifier, clips, 'random clips')
            for clips in (torch.randint(
                0, 256, (n, *shape), dtype=torch.uint8, generator=generator)
                          for n in (1, 3))
        ]
        differences = {'random clips': max(differences)}
        if video:
            clips = predictor.read(video)['inputs'].unflatten(
                0, (-1, shape[0]))
            differences[video] = verify(predictor.model, classifier, clips,
                                        video)
    return differences


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence its warnings, such as of a missing torchvision, which no
    recognizer needs."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)


def write_model(recognizer: BaseModel,
                path: str,
                shape: tuple[int, int, int, int],
                fuse: bool = False,
                raw: bool = False,
                opset: int = OPSET,
                classes: Sequence[str] = ()) -> None:
    """Write a recognizer as an ONNX model for any number of clips.

    Args:
        recognizer (BaseModel): A Recognizer2D, in evaluation mode.
        path (str): The file to write.
        shape (tuple[int, int, int, int]): A clip's, (frames, 3, H, W).
        fuse (bool): See :func:`export`.
        raw (bool): See :func:`export`.
        opset (int): See :func:`export`.
        classes (Sequence[str]): The names of the classes, for the metadata.
    """
    # This import starts MMEngine's log, which must not go to stdout.
    from mmaction.models.recognizers import Recognizer2D
    for package in 'onnx', 'onnxscript':
        require(package)
    if not isinstance(recognizer, Recognizer2D):
        raise ValueError(f'a {type(recognizer).__name__} is not a '
                         'Recognizer2D: only those can be exported.')
    preprocessor = recognizer.data_preprocessor
    if not hasattr(preprocessor, 'mean'):
        raise ValueError('the data preprocessor of the config has no mean '
                         'and std: set them.')
    meta = dict(
        classes=classes,
        clip_shape=shape,
        raw=raw,
        multi_label=is_multi_label(recognizer.cls_head),
        mean=preprocessor.mean.flatten().tolist(),
        std=preprocessor.std.flatten().tolist(),
        to_rgb=preprocessor.to_rgb)
    if fuse:
        recognizer = fuse_conv_bn(copy.deepcopy(recognizer))
    clips = torch.zeros(2, *shape, dtype=torch.uint8 if raw else torch.float)
    # A dimension of size 1 would be treated as a constant.
    number = torch.export.Dim('clips', min=2)
    try:
        with torch.no_grad(), quiet_exporter():
            program = torch.onnx.export(
                ClipClassifier(recognizer, raw).eval(), (clips, ),
                dynamo=True,
                dynamic_shapes=({
                    0: number
                }, ),
                opset_version=opset,
                input_names=['clips'],
                output_names=['probabilities'],
                verbose=False)
    except torch.onnx.errors.OnnxExporterError as error:
        raise ValueError('PyTorch cannot export this model: '
                         f'{error.__cause__ or error}') from error
    written = program.model.opset_imports['']
    if written != opset:
        raise ValueError(f'--opset {opset}: this PyTorch wrote opset '
                         f'{written}; give that or {OPSET}.')
    program.model.metadata_props.update({
        key: json.dumps(value)
        for key, value in meta.items()
    })
    program.save(path, external_data=False)


@torch.no_grad()
def verify(recognizer: BaseModel, classifier: ONNXClassifier, clips: Tensor,
           what: str) -> float:
    """Compare an ONNX model with the recognizer, as MMAction2 tests it.

    Args:
        recognizer (BaseModel): The recognizer.
        classifier (ONNXClassifier): The model.
        clips (Tensor): Raw frames, [N, T, 3, H, W].
        what (str): Name of the clips, for the message.

    Returns:
        float: The largest difference between probabilities.

    Raises:
        ValueError: If they differ by more than rounding explains.
    """
    theirs = predict_probabilities(
        recognizer,
        dict(
            inputs=list(clips),
            data_samples=[ActionDataSample() for _ in clips]))
    ours = classifier.classify_raw(clips)
    difference = (ours - theirs).abs().max().item()
    ours, theirs = (classifier.to_logits(x, _HIGHEST) for x in (ours, theirs))
    if not (ours - theirs).abs().max() <= _TOLERANCE * theirs.std():
        raise ValueError(
            f'the ONNX model differs from PyTorch on {what}, by '
            f'{difference:.1g} in a probability; it was not written.')
    return difference
