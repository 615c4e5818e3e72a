"""Functions that read and change the pipelines of configs.

A config calls the ``use_*`` functions on ``_base_``, the config that it
inherits, which they change in place; its own children need no further call.
Steps are found by their type, since their positions depend on how the clips
are stored.
"""
import copy
import inspect
import os.path as osp
from collections.abc import Iterator, Sequence

from mmaction.registry import MODELS
from mmaction.utils import get_str_type
from mmengine.config import ConfigDict

from .lists import read_lines


def find_step(pipeline: Sequence[dict], name: str) -> dict:
    """The first step whose type ends with a name.

    Args:
        pipeline (Sequence[dict]): The steps.
        name (str): The end of the type; 'SampleFrames' also matches
            DenseSampleFrames.

    Returns:
        dict: The step itself, which can be changed in place.

    Raises:
        ValueError: If there is no such step.
    """
    types = [get_str_type(step['type']) for step in pipeline]
    for step, kind in zip(pipeline, types, strict=True):
        if kind.endswith(name):
            return step
    raise ValueError(f"no step's type ends with {name} in this pipeline of "
                     f'the config: {", ".join(types)}.')


def stage_datasets(cfg: ConfigDict, stage: str) -> list[ConfigDict]:
    """The data sets of 'train', 'val' or 'test', out of their wrappers.

    The list is empty if the config has no such stage.
    """

    def unwrap(dataset: ConfigDict) -> Iterator[ConfigDict]:
        for part in dataset.get('datasets') or [dataset.get('dataset')]:
            yield from unwrap(part) if part else [dataset]

    loader = cfg.get(f'{stage}_dataloader')
    return [*unwrap(loader.dataset)] if loader else []


def stage_pipelines(cfg: ConfigDict, *stages: str) -> list[list[ConfigDict]]:
    """The pipelines of the data sets of some stages, each once."""
    found = [
        dataset.pipeline for stage in stages
        for dataset in stage_datasets(cfg, stage)
    ]
    return [*{id(pipeline): pipeline for pipeline in found}.values()]


def stage_pipeline(cfg: ConfigDict, stage: str) -> list[ConfigDict]:
    """The steps that the clips of a stage go through.

    Raises:
        ValueError: If the config has no such stage, or several pipelines.
    """
    pipelines = stage_pipelines(cfg, stage)
    if not pipelines or pipelines != pipelines[:1] * len(pipelines):
        raise ValueError(
            f'the config has {"several pipelines" if pipelines else "nothing"}'
            f' for {stage}: give {stage}_dataloader one.')
    return pipelines[0]


def gives_logits(cfg: ConfigDict) -> bool:
    """Whether a test of a config returns logits instead of probabilities.

    MMAction2's heads then average the logits of the views of a video; the
    softmax is left to the caller.
    """
    return cfg.model.get('cls_head', {}).get('average_clips') == 'score'


def frame_size(pipeline: Sequence[dict]) -> tuple[int, int]:
    """Height and width of the frames that a pipeline returns.

    Raises:
        ValueError: If none of them fixes the size.
    """
    for step in reversed(pipeline):
        size = step.get('crop_size', step.get('size'))
        if not step.get('keep_ratio', True):
            size = step['scale']
        if size is not None:
            # MMAction2 has the width first.
            width, height = (size, size) if isinstance(size, int) else size
            return height, width
    raise ValueError('no step of the pipeline crops or resizes to a fixed '
                     'size: add a CenterCrop, or a Resize with '
                     'keep_ratio=False.')


def clip_frames(cfg: ConfigDict, part: str = 'backbone') -> int | None:
    """Frames per clip that a part of the model of a config takes.

    Args:
        cfg (ConfigDict): The config; if it does not set the number, the
            default of the part is used.
        part (str): 'backbone' or 'cls_head'. Defaults to 'backbone'.

    Returns:
        int | None: The number, None if the part takes any.

    Raises:
        ValueError: If neither the config nor the signature of the part tells.
    """
    settings = (cfg.get('model') or {}).get(part) or {}
    # Transformers use the second name.
    names = 'num_segments', 'num_frames'
    for name in names:
        if name in settings:
            return settings[name]
    kind = settings.get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(cls, type):
        return None
    for name in names:
        parameters = inspect.signature(cls).parameters
        if name in parameters:
            return parameters[name].default
        if any(
                name in inspect.signature(base.__init__).parameters
                for base in cls.__mro__):
            raise ValueError(
                f'the frames of a clip are unknown: **kwargs of '
                f'{cls.__name__} hide its {name}: set model.{part}.{name}, or '
                f'name it in {cls.__name__}.__init__.')
    return None


def use_frames(cfg: ConfigDict, frames: int) -> None:
    """Sample another number of frames per clip, one from each segment.

    The model, if the config has one, is changed too.

    Raises:
        ValueError: If a pipeline does not sample frames.
    """
    for pipeline in _pipelines(cfg):
        find_step(pipeline, 'SampleFrames')['num_clips'] = frames
    if 'model' in cfg:
        cfg.model.backbone.num_segments = frames
        cfg.model.cls_head.num_segments = frames


def scale_sizes(pipeline: Sequence[dict], factor: float) -> None:
    """Multiply all sizes of frames in a pipeline by a factor, in place."""

    def scale(sides: int | Sequence[int]) -> int | tuple[int, ...]:
        if isinstance(sides, int):
            # -1 is a side that is computed from the other one
            return sides if sides < 0 else round(sides * factor)
        return tuple(map(scale, sides))

    for step in pipeline:
        for key in 'scale', 'input_size', 'crop_size', 'size':
            if key in step:
                step[key] = scale(step[key])


def use_size(cfg: ConfigDict, size: int) -> None:
    """Change the height of the frames, and all other sizes in proportion.

    Raises:
        ValueError: If a pipeline does not fix their size.
    """
    for pipeline in _pipelines(cfg):
        scale_sizes(pipeline, size / frame_size(pipeline)[0])


def use_folder(cfg: ConfigDict, root: str,
               frozen_classes: Sequence[str] = ()) -> None:
    """Read your own videos, listed by ``tools/data/prepare.py folder``.

    The clips of the list ``val`` are for validation and test. If there is a
    list ``test``, it is tested; without a list ``val`` nothing is validated.

    Args:
        cfg (ConfigDict): The config; its model, if it has one, gets the
            number of classes.
        root (str): The folder of the data.
        frozen_classes (Sequence[str]): The classes that a mirror image would
            not belong to. Training flips the clips of all others.

    Raises:
        FileNotFoundError: If the folder is not prepared.
        ValueError: If the training pipeline has no flip.
    """
    path = osp.join(root, 'classes.txt')
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'{path} does not exist: `python tools/data/prepare.py folder '
            f'{root}` writes it.')
    classes = read_lines(path)
    validated, tested = (
        osp.isfile(osp.join(root, f'folder_{part}_list_videos.txt'))
        for part in ('val', 'test'))
    if tested:
        cfg.test_dataloader = copy.deepcopy(cfg.test_dataloader)
        cfg.test_dataloader.dataset.ann_file = 'folder_test_list_videos.txt'
        if not validated:
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    for dataset in _datasets(cfg):
        dataset.data_root = root
        # kept in the checkpoints, for tools/predict.py
        dataset.metainfo = dict(classes=classes)
    find_step(stage_pipeline(cfg, 'train'), 'Flip').update(
        type='SelectiveFlip',
        frozen_classes=list(frozen_classes),
        classes=classes)
    if 'model' in cfg:
        cfg.model.cls_head.num_classes = len(classes)


def use_rawframes(
    cfg: ConfigDict,
    filename_tmpl: str = 'img_{:05}.jpg',
    folders: tuple[str, str] = ('videos', 'rawframes')
) -> None:
    """Read folders of frames instead of videos.

    Args:
        cfg (ConfigDict): The config.
        filename_tmpl (str): Template of the names of the frames, which count
            from 1. Defaults to that of MMAction2's build_rawframes.py.
        folders (tuple[str, str]): Names of the folder of the videos and of
            that of the frames. Defaults to ('videos', 'rawframes').

    Raises:
        ValueError: If a pipeline does not read videos.
    """
    for pipeline in _pipelines(cfg):
        pipeline.remove(find_step(pipeline, 'Init'))
        place = pipeline.index(find_step(pipeline, 'Decode'))
        pipeline[place] = ConfigDict(type='RawFrameDecode')
    for dataset in _datasets(cfg):
        dataset.type = 'RawframeDataset'
        dataset.filename_tmpl = filename_tmpl
        folder = dataset.data_prefix.pop('video')
        dataset.data_prefix.img = folder.replace(*folders)
        _rename_list(dataset, 'videos', 'rawframes')


def use_videos(cfg: ConfigDict) -> None:
    """Read videos instead of folders of frames.

    Raises:
        ValueError: If a pipeline does not read folders of frames.
    """
    for pipeline in _pipelines(cfg):
        find_step(pipeline, 'RawFrameDecode')
        replace_decoder(pipeline)
    for dataset in _datasets(cfg):
        dataset.type = 'VideoDataset'
        dataset.pop('filename_tmpl')
        folder = dataset.data_prefix.pop('img')
        dataset.data_prefix.video = folder.replace('rawframes', 'videos')
        _rename_list(dataset, 'rawframes', 'videos')


def use_video_file(cfg: ConfigDict) -> None:
    """Read videos by this package's decoder, whichever the config names.

    Raises:
        ValueError: If a pipeline decodes nothing.
    """
    for pipeline in _pipelines(cfg):
        replace_decoder(pipeline)


def replace_decoder(pipeline: list[dict]) -> None:
    """Make a pipeline read videos by this package's decoder, in place.

    Raises:
        ValueError: If it decodes nothing.
    """
    place = pipeline.index(find_step(pipeline, 'Decode'))
    pipeline[place] = ConfigDict(type='VideoDecode')
    pipeline[:] = [ConfigDict(type='VideoInit')] + [
        step
        for step in pipeline if not get_str_type(step['type']).endswith('Init')
    ]


def _rename_list(dataset: ConfigDict, *storages: str) -> None:
    # The recipe itself names no list.
    if 'ann_file' in dataset:
        dataset.ann_file = dataset.ann_file.replace(*storages)


def _datasets(cfg: ConfigDict) -> Iterator[ConfigDict]:
    for stage in ('train', 'val', 'test'):
        yield from stage_datasets(cfg, stage)


def _pipelines(cfg: ConfigDict) -> list[list[ConfigDict]]:
    """The pipelines of a config, each once."""
    pipelines = stage_pipelines(cfg, 'train', 'val', 'test')
    # read by MMAction2's inference API
    other = cfg.get('test_pipeline')
    if other is not None and all(other is not x for x in pipelines):
        pipelines.append(other)
    return pipelines
