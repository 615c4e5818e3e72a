"""The motion benchmark: networks with one recipe, and their accuracies."""
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import bench_clips
import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope

from selfy_mmaction.datasets.recipes import frame_size
from selfy_mmaction.engine import launch, runner
from selfy_mmaction.evaluation.complexity import get_complexity
from selfy_mmaction.evaluation.dumps import load_dump
from selfy_mmaction.evaluation.metrics import dump_results
from selfy_mmaction.evaluation.tables import format_mean, format_table
from selfy_mmaction.files import write_text

sys.path.append(str(Path(__file__).resolve().parents[2] / 'benchmarks'))
from measure import name_device, time_in_turn  # noqa: E402 (found above)

# Name -> config.
NETWORKS = {
    'TSN': 'tsn_r18_motion_bench',
    'TSM': 'tsm_r18_motion_bench',
    'SELFY on TSN': 'selfy_tsn_r18_motion_bench',
    'SELFY on TSM': 'selfy_tsm_r18_motion_bench',
}


class Design(NamedTuple):
    """A change of one of NETWORKS: arguments of its backbone, and epochs."""
    network: str
    backbone: dict = {}
    epochs: int = 1


def _block(**arguments) -> Design:
    """SELFY on TSM with other arguments of the block."""
    return Design('SELFY on TSM', dict(selfy=arguments))


def _extract(**arguments) -> Design:
    return _block(extraction=dict(_delete_=True, **arguments))


def _moss(network: str, orders: int) -> Design:
    """A MOSSBlock with the widths of the SELFYBlock.

    It keeps the size of the map: cells are half as large, and the window has
    twice as many.
    """
    block = dict(
        _delete_=True,
        type='MOSSBlock',
        orders=orders,
        mid_channels=64,
        window=(7, 5, 25),
        extraction=dict(type='STSSMLPExtraction', channels=(32, ), act='GELU'),
        integration=dict(
            type='STSSConvIntegration', channels=(32, 32, 32), act='GELU'))
    return Design(f'SELFY on {network}', dict(selfy=block))


ABLATIONS = {
    'window 7 x 3 x 5': _block(window=(7, 3, 5)),
    'window 7 x 3 x 9': _block(window=(7, 3, 9)),
    'offset 0': _block(window=(1, 3, 13), offsets=(0, )),
    'offset 1': _block(window=(1, 3, 13), offsets=(1, )),
    'offsets -1 to 1': _block(window=(3, 3, 13)),
    'offsets -2 to 2': _block(window=(5, 3, 13)),
    'offsets 0 to 3': _block(window=(4, 3, 13), offsets=(0, 1, 2, 3)),
    'dot product': _block(similarity='dot'),
    'replicated frames at the border': _block(temporal_padding='replicate'),
    'extraction by soft-argmax': _extract(type='STSSSoftArgmaxExtraction'),
    'extraction by MLP': _extract(
        type='STSSMLPExtraction', channels=(32, 32, 32, 32)),
    'integration without spatial convolutions': _block(
        integration=dict(kernel_size=1)),
    'integration by a 1 x 1 fusion': _block(
        integration=dict(kernel_size=1, channels=(32, ))),
    'block after the second stage': Design(
        'SELFY on TSM', dict(selfy_indices=(1, ))),
    'blocks after both stages': Design(
        'SELFY on TSM', dict(selfy_indices=(0, 1))),
}  # yapf: disable
ORDERS = {
    f'MOSS of order {orders} on {network}': _moss(network, orders)
    for network in ('TSN', 'TSM')
    for orders in (1, 2, 3)
}
DESIGNS = {name: Design(name) for name in NETWORKS} | ABLATIONS | ORDERS
DESIGNS |= {
    f'{name}, 2 epochs': design._replace(epochs=2)
    for name, design in DESIGNS.items()
}
# The splits of the curve, which differ only in displacement. Each has two
# points: its slower and its faster clips.
CURVE = ('slow', 'medium', 'fast')


class Run(NamedTuple):
    """One training: a key of DESIGNS, and the random seed."""
    name: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Its folder."""
        name = NETWORKS.get(self.name, self.name.replace(' ', '_'))
        return out / name / f'seed_{self.seed}'

    def load_config(self, configs: Path, options: dict) -> Config:
        """Its config, with settings that replace those of a file."""
        network, backbone, epochs = DESIGNS[self.name]
        cfg = launch.load_config(
            str(configs / f'{NETWORKS[network]}.py'), options)
        cfg.merge_from_dict(dict(model=dict(backbone=backbone)))
        if epochs > 1:
            cfg.train_cfg.max_epochs = epochs
        cfg.launcher = 'none'
        cfg.randomness = dict(seed=self.seed)
        return cfg


def train_and_test(cfg: Config, folder: Path) -> dict:
    """Train a network, test it on all splits and keep the results in a folder.

    A finished run is not repeated.

    Returns:
        dict: The complexity of :func:`get_complexity`; ``seconds``, the
        median time of a training step without loading; ``device``;
        ``predictions``, the class number for each clip's name.
    """
    done, text = folder / 'result.json', cfg.pretty_text
    if done.exists():
        result = json.loads(done.read_text())
        if result.pop('config') != text:
            raise ValueError(f'{done} was made with another config: remove '
                             f'{folder} or choose another folder.')
        return result
    cfg.work_dir = str(folder)
    dump = folder / 'scores.npz'
    result = get_complexity(cfg, frame_size(cfg.test_pipeline))
    dump_results(cfg, str(dump))
    training = runner.build_runner(cfg, stages=('train', 'test'))
    training.train()
    training.test()
    step, load = (
        training.message_hub.get_scalar(f'train/{key}').data[0]
        for key in ('time', 'data_time'))
    scores = load_dump(str(dump))
    result.update(
        seconds=float(np.median(step - load)),
        device=name_device(torch.device(get_device())),
        predictions=dict(
            zip(scores.names, scores.scores.argmax(1).tolist(), strict=True)),
        config=text)
    write_text(done, json.dumps(result, indent=1))
    del result['config']
    return result


def time_designs(names: Sequence[str],
                 configs: Path,
                 options: dict,
                 rounds: int = 20) -> dict[str, float]:
    """Milliseconds that each of DESIGNS takes to classify a clip.

    They run in turn, on the machine's device; the medians are returned.
    """
    device = torch.device(get_device())
    networks = {}
    for name in names:
        cfg = Run(name, 0).load_config(configs, options)
        with DefaultScope.overwrite_default_scope('mmaction'):
            network = MODELS.build(cfg.model).to(device).eval()
        T = network.backbone.num_segments
        clip = torch.randn(1, T, 3, *frame_size(cfg.test_pipeline))
        networks[name] = partial(network, clip.to(device))
    with torch.no_grad():
        seconds = time_in_turn(networks, device, rounds)
    return {name: 1e3 * seconds[name] for name in names}


class Study:
    """The clips of a data set, and the results of :func:`train_and_test`."""

    def __init__(self, data_root: Path, results: Mapping[Run, dict]) -> None:
        settings = json.loads((data_root / 'motion.json').read_text())
        self.clips = bench_clips.list_dataset(settings)
        self.results = results
        self.displacements = {
            clip: bench_clips.draw_tracks(clip).displacement.mean()
            for split in CURVE
            for clip in self.clips[split]
        }

    def names(self) -> list[str]:
        """The networks, in the order of their runs."""
        return list(dict.fromkeys(run.name for run in self.results))

    def _runs(self, name: str) -> list[dict]:
        return [
            result for run, result in self.results.items() if run.name == name
        ]

    def accuracies(self, name: str, clips: Sequence) -> np.ndarray:
        """Accuracies of a network on clips in percent, one per seed."""
        return np.array([
            100 * np.mean([
                result['predictions'][Path(clip.name).stem] == clip.label
                for clip in clips
            ]) for result in self._runs(name)
        ])

    def table(self, milliseconds: Mapping[str, float] | None = None) -> str:
        """Markdown: accuracy on each split, and the cost: the times of
        :func:`time_designs`, or those of the training steps.
        """
        lines = []
        for name in self.names():
            runs = self._runs(name)
            macs = runs[0]['flops'] + runs[0]['stss_flops']
            if milliseconds:
                time = f'{milliseconds[name]:.1f}'
            else:
                time = f'{np.median([run["seconds"] for run in runs]):.2f}'
            lines.append([
                name, *(format_mean(self.accuracies(name, self.clips[split]))
                        for split in bench_clips.SPLITS), f'{macs / 1e9:.2f}',
                f'{runs[0]["params"] / 1e6:.2f}', time
            ])
        return format_table([
            'network', *bench_clips.SPLITS, 'GMACs', 'parameters (M)',
            'ms / clip' if milliseconds else 's / step'
        ], lines)

    def table_of_classes(self, split: str) -> str:
        """Markdown: accuracy on each class of a split."""
        clips = {
            name: [clip for clip in self.clips[split] if clip.label == label]
            for label, name in enumerate(bench_clips.CLASSES)
        }
        return format_table(['network', *clips], [[
            name, *(format_mean(self.accuracies(name, c))
                    for c in clips.values())
        ] for name in self.names()])

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Accuracies in percent, [seeds, P], after the mean displacements of
        the clips of each point, in cells, [P]."""
        places, points = [], []
        for split in CURVE:
            middle = np.mean(bench_clips.SPLITS[split].displacement)
            halves = [], []
            for clip in self.clips[split]:
                halves[int(self.displacements[clip] > middle)].append(clip)
            for half in filter(None, halves):
                places.append(
                    np.mean([self.displacements[clip] for clip in half]))
                points.append(self.accuracies(name, half))
        return np.array(places), np.array(points).T
