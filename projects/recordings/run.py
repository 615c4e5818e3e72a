"""Train networks on real recordings, test them and tabulate the accuracies.

DIR has a folder per set, with the clips and clips.csv. Trainings that are done
are not done again, and one that was interrupted goes on; several processes at
a time share the work.
"""
import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import report
import tasks
import torch
from filelock import FileLock, Timeout
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from selfy_mmaction.datasets.recipes import frame_size
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.engine.runner import build_runner
from selfy_mmaction.evaluation.complexity import get_complexity
from selfy_mmaction.files import write_text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PUBLISHED = 'checkpoints/selfy_tsm_r18_motion_*.pth'
SEEDS = 0, 1, 2
# Name -> changed arguments of the backbone of SELFY on TSM.
NETWORKS = {
    'TSN': dict(is_shift=False, selfy_indices=()),
    'TSM': dict(selfy_indices=()),
    'SELFY on TSN': dict(is_shift=False),
    'SELFY on TSM': dict(),
}
_SOFT_ARGMAX = dict(_delete_=True, type='STSSSoftArgmaxExtraction')
ABLATIONS = {
    'extraction by soft-argmax': dict(selfy=dict(extraction=_SOFT_ARGMAX)),
    'window 5 x 5 x 5': dict(selfy=dict(window=(5, 5, 5))),
    'offsets 0 to 3': dict(selfy=dict(window=(4, 9, 9), offsets=(0, 1, 2, 3))),
}
# The network of rendered motion, whose weights are published: from scratch,
# and from these weights.
_RENDERED = dict(
    num_stages=2,
    strides=(1, 2),
    dilations=(1, 1),
    out_indices=(1, ),
    selfy=dict(
        extraction=dict(channels=(4, 16, 64, 64)),
        integration=dict(channels=(64, 64, 64, 64))),
    selfy_indices=(1, ))
SCRATCH, TRANSFER = 'two stages, from scratch', 'two stages, from rendered'
DESIGNS = {**NETWORKS, **ABLATIONS, SCRATCH: _RENDERED, TRANSFER: _RENDERED}


class Training(NamedTuple):
    """A training."""
    name: str  # of the set, which has a config and a folder of its name
    task: str  # 'classes', 'direction', or 'few_N' with N clips per class
    network: str  # a key of DESIGNS
    seed: int

    def folder(self, out: Path) -> Path:
        """Its folder."""
        network = self.network.replace(' ', '_')
        return out / f'{self.name}_{self.task}' / network / f'{self.seed}'

    def load_config(self, options: dict) -> Config:
        """Its config, with settings that replace those of a file."""
        cfg = launch.load_config(
            str(HERE / f'configs/selfy_tsm_r18_{self.name}.py'), options)
        cfg.merge_from_dict(dict(model=dict(backbone=DESIGNS[self.network])))
        if cfg.model.backbone.num_stages == 2:
            cfg.model.cls_head.in_channels = 128
        if self.network == TRANSFER:
            cfg.load_from, = map(str, ROOT.glob(PUBLISHED))
        if self.task == 'direction':
            tasks.use_direction(cfg)
        elif self.task != 'classes':
            tasks.use_few(cfg, int(self.task.removeprefix('few_')))
        cfg.randomness = dict(seed=self.seed)
        cfg.launcher = 'none'
        return cfg


# In the order of the trainings: first all networks of one seed.
TRAININGS = [
    Training(name, task, network, seed)
    for name in ('msr_action3d', 'avletters', 'miracl_words')
    for task in ('classes', 'direction') for seed in SEEDS
    for network in NETWORKS
] + [
    Training('msr_action3d', task, network, seed)
    for task, networks in (('classes', (*ABLATIONS, SCRATCH, TRANSFER)),
                           ('few_7', (SCRATCH, TRANSFER)),
                           ('few_3', (SCRATCH, TRANSFER))) for seed in SEEDS
    for network in networks
]


def train_and_test(training: Training, out: Path, options: dict) -> dict:
    """Train, or go on, and test the last checkpoint.

    The result has the complexity of :func:`get_complexity`, and ``train`` and
    ``test``, the numbers of right and of all clips of each class.
    """
    cfg = training.load_config(options)
    cfg.work_dir = str(training.folder(out))
    cfg.resume = (training.folder(out) / 'last_checkpoint').exists()
    if cfg.resume:
        cfg.load_from = None
    result = dict(training._asdict(),
                  **get_complexity(cfg, frame_size(cfg.test_pipeline)))
    runner = build_runner(cfg, stages=('train', 'test'))
    use_bfloat16(runner.model.backbone)
    runner.train()
    for split in 'train', 'test':
        loader = copy.deepcopy(cfg.test_dataloader)
        loader.dataset.ann_file = cfg[f'{split}_dataloader'].dataset.ann_file
        result[split] = count_right(runner.model,
                                    Runner.build_dataloader(loader))
    return result


def use_bfloat16(backbone: torch.nn.Module) -> None:
    """Compute the products in bfloat16, in half the time; MMEngine's wrapper
    does so on GPUs only."""
    backbone.to(memory_format=torch.channels_last)
    backbone.forward = torch.autocast('cpu', torch.bfloat16)(backbone.forward)
    backbone.register_forward_hook(lambda *args: args[-1].float())


@torch.no_grad()
def count_right(model: torch.nn.Module, loader) -> dict[str, list[int]]:
    """Numbers of right and of all clips, for each class."""
    model.eval()
    classes = loader.dataset.metainfo['classes']
    counts = {name: [0, 0] for name in classes}
    for batch in loader:
        for sample in model.test_step(batch):
            label = sample.gt_label.item()
            counts[classes[label]][0] += int(
                sample.pred_score.argmax().item() == label)
            counts[classes[label]][1] += 1
    return counts


def time_networks(rounds: int = 10) -> dict[str, float]:
    """CPU seconds that each network takes forwards and backwards on a batch.

    They run in turn, so that what else the machine does slows all of them.
    """
    steps = {}
    for name in DESIGNS:
        cfg = Training('msr_action3d', 'classes', name, 0).load_config({})
        with DefaultScope.overwrite_default_scope('mmaction'):
            model = MODELS.build(cfg.model)
        use_bfloat16(model.backbone)
        size = frame_size(cfg.test_pipeline)
        clips = torch.randn(cfg.train_dataloader.batch_size, 8, 3, *size)
        steps[name] = lambda model=model, clips=clips: model(clips).sum(
        ).backward()
    seconds = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(of) for name, of in seconds.items()}


def missing(out: Path) -> Iterator[tuple[Training, Path]]:
    """The trainings that have no result and that no other process does."""
    for training in TRAININGS:
        folder = training.folder(out)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / 'lock', timeout=0):
                if not (folder / 'result.json').exists():
                    yield training, folder / 'result.json'
        except Timeout:
            continue


def prepare(data: Path) -> None:
    """List the clips of the sets, once."""
    tool = ROOT / 'tools/data/prepare.py'
    for name in dict.fromkeys(training.name for training in TRAININGS):
        root = data / name
        if not (root / 'classes.txt').exists():
            command = [sys.executable, tool, 'folder', root]
            subprocess.run([*command, '--csv', root / 'clips.csv'], check=True)


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        '--data',
        type=Path,
        default='data/recordings',
        help='folder of the sets; data/recordings by default')
    parser.add_argument(
        '--out',
        type=Path,
        default='work_dirs/recordings',
        help='folder of the results; work_dirs/recordings by default')
    parser.add_argument(
        '--table',
        action='store_true',
        help='train nothing, tabulate what is there')
    parser.add_argument(
        '--times',
        action='store_true',
        help='train nothing, but time a step of each network for the tables')
    launch.add_config_options(parser)
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    os.environ['RECORDINGS'] = str(args.data.resolve())
    if not args.table:
        prepare(args.data)
    if args.times:
        write_text(args.out / 'times.json', json.dumps(time_networks()))
    elif not args.table:
        for training, path in missing(args.out):
            print(*training, flush=True)
            result = train_and_test(training, args.out, args.cfg_options)
            write_text(path, json.dumps(result))
    report.write(args.out, DESIGNS)


if __name__ == '__main__':
    main()
