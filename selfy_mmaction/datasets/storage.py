"""Configs written for one storage of a data set, turned to the other.

A ``_base_`` file calls these on the file that it inherits; a config that
inherits it in turn needs no further line.
"""
from collections.abc import Iterator

from mmengine.config import ConfigDict


def use_rawframes(cfg: ConfigDict,
                  filename_tmpl: str = 'img_{:05}.jpg',
                  folders: tuple[str, str] = ('videos', 'rawframes')) -> None:
    """Read folders of frames in place of videos.

    Args:
        cfg (ConfigDict): A config with data loaders, changed in place.
        filename_tmpl (str): The names of the frames, which count from 1.
            Defaults to those that MMAction2's build_rawframes.py gives.
        folders (tuple[str, str]): What the folder of the videos is called,
            and that of the frames. Defaults to ('videos', 'rawframes').
    """
    for dataset in _datasets(cfg):
        dataset.type = 'RawframeDataset'
        dataset.ann_file = dataset.ann_file.replace('videos', 'rawframes')
        folder = dataset.data_prefix.pop('video')
        dataset.data_prefix.img = folder.replace(*folders)
        dataset.filename_tmpl = filename_tmpl
    for pipeline in _pipelines(cfg):
        pipeline[0:3] = [pipeline[1], ConfigDict(type='RawFrameDecode')]


def use_videos(cfg: ConfigDict) -> None:
    """Read videos in place of folders of frames.

    Args:
        cfg (ConfigDict): A config with data loaders, changed in place.
    """
    for dataset in _datasets(cfg):
        dataset.type = 'VideoDataset'
        dataset.ann_file = dataset.ann_file.replace('rawframes', 'videos')
        folder = dataset.data_prefix.pop('img')
        dataset.data_prefix.video = folder.replace('rawframes', 'videos')
        dataset.pop('filename_tmpl')
    for pipeline in _pipelines(cfg):
        pipeline[0:2] = [
            ConfigDict(type='DecordInit'), pipeline[0],
            ConfigDict(type='DecordDecode')
        ]


def _datasets(cfg: ConfigDict) -> Iterator[ConfigDict]:
    for split in ('train', 'val', 'test'):
        yield cfg[f'{split}_dataloader'].dataset


def _pipelines(cfg: ConfigDict) -> Iterator[list]:
    """The pipelines of a config, each once."""
    pipelines = [cfg.test_pipeline, *(d.pipeline for d in _datasets(cfg))]
    yield from {id(pipeline): pipeline for pipeline in pipelines}.values()
