"""Enter configs and published networks in the model zoo of this repository.

Writes configs/metafile.yml and the tables of docs/model_zoo.md. Without
arguments it describes all configs again and measures their complexity, which
takes a while; what was published stays.
"""
import argparse
import os.path as osp
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from mmengine.config import Config
from publish_model import config_name

from selfy_mmaction.datasets.recipes import (
    clip_frames,
    frame_size,
    stage_pipeline,
)
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.engine.checkpoint import load_checkpoint
from selfy_mmaction.evaluation.complexity import get_complexity
from selfy_mmaction.evaluation.tables import format_table
from selfy_mmaction.files import write_text

ROOT = Path(__file__).resolve().parent.parent
DATASETS = dict(
    sthv1='Something-Something V1',
    sthv2='Something-Something V2',
    k400='Kinetics-400',
    diving48_v1='Diving-48 V1',
    diving48='Diving-48 V2',
    gym99='FineGym Gym99',
    gym288='FineGym Gym288',
    motion_bench='Motion benchmark',
    motion='Synthetic motion')
NAME = re.compile(
    r'(?P<selfy>selfy_)?(?:(?P<base>ts[mn])_(?P<backbone>[a-z0-9]+)'
    r'(_1x1x\d+)?|(?P<vit>vit_[a-z]\d+)_videomae)'
    rf'_(?P<dataset>{"|".join(DATASETS)})(_2clip)?')
BACKBONES = dict(r='ResNet-', mobilenetv2='MobileNetV2', vit_b='ViT-B/')
# before the metrics of the paper, to keep them apart from those measured here
PAPERS = 'Paper '
HEADER = """\
# Written by tools/update_zoo.py: configs, complexity and, of networks that
# tools/publish_model.py has published, the file, its epochs and accuracies.
# FLOPs are multiply-adds of one clip. What begins with "Paper" is the paper's,
# from paper.yml.
"""


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'entry',
        nargs='?',
        type=Path,
        help='enter only this: a config in configs/, or a file of '
        'tools/publish_model.py, with its epochs and accuracies')
    parser.add_argument(
        '--url',
        help='URL of the folder that the file will be downloaded from; by '
        'default it is in this repository')
    return parser.parse_args()


class Zoo:
    """The metafile, the paper's rows and the tables of a repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.metafile = self.root / 'configs/metafile.yml'
        self.page = self.root / 'docs/model_zoo.md'
        self.rows = yaml.safe_load(
            (self.root / 'configs/paper.yml').read_text())
        index = yaml.safe_load(self.metafile.read_text())
        self.collections = index['Collections']
        self.models = {model['Name']: model for model in index['Models']}

    def update(self,
               names: Sequence[str] | None = None,
               measure: Callable[..., dict] = get_complexity) -> None:
        """Describe configs again, keeping what was published.

        By default all that are of a data set of the zoo; the entries of others
        and of configs that are gone are then removed.
        """
        models = dict(self.models)
        if names is None:
            names = [
                path.stem for path in self.root.glob('configs/*.py')
                if NAME.fullmatch(path.stem)
            ]
            models = {}
        complexities = {}
        for name in names:
            _parse(name)
            cfg = launch.load_config(str(self.root / f'configs/{name}.py'), {})
            size = frame_size(stage_pipeline(cfg, 'train'))
            # Many configs have the same network.
            network = str((cfg.model, size))
            if network not in complexities:
                complexities[network] = measure(cfg, size)
            entry = describe(name, cfg, complexities[network])
            old = self.models.get(name, {})
            if 'Weights' in old:
                entry['Metadata']['Epochs'] = old['Metadata']['Epochs']
                entry['Weights'] = old['Weights']
            self._set_metrics(entry, _metrics(old))
            models[name] = entry
        self.models = dict(sorted(models.items()))

    def enter(self, checkpoint: Path, meta: dict, url: str | None) -> None:
        """Enter a published checkpoint and its meta, unless others could not
        find it, or it would replace measured accuracies by none."""
        name, root = config_name(checkpoint), self.root.resolve()
        if url:
            weights = f'{url.rstrip("/")}/{checkpoint.name}'
        elif checkpoint.resolve().is_relative_to(root):
            weights = checkpoint.resolve().relative_to(root).as_posix()
        else:
            raise ValueError(f'{checkpoint} is not in this repository: give '
                             'the --url of the folder that serves it.')
        accuracies = meta.get('accuracies', {})
        entry = self.models[name]
        earlier = _metrics(entry)
        if earlier and not accuracies:
            raise ValueError(
                f'{checkpoint} has no accuracies and would replace a network '
                f'that has ({format_accuracies(earlier)}): publish it with '
                '--dump.')
        if meta.get('epoch'):
            entry['Metadata']['Epochs'] = meta['epoch']
        entry['Weights'] = weights
        self._set_metrics(entry, accuracies)

    def _set_metrics(self, entry: dict, measured: dict[str, float]) -> None:
        """Set what the paper reports for this network alone, and ours."""
        metrics = {
            PAPERS + row['Metric']: row['Paper']
            for row in self.rows.values() if row['Configs'] == [entry['Name']]
        } | measured
        entry.pop('Results', None)
        if metrics:
            entry['Results'] = [
                dict(
                    Task='Action Recognition',
                    Dataset=entry['Metadata']['Training Data'],
                    Metrics=metrics)
            ]

    def write(self) -> None:
        """Write the metafile and, if it exists, the zoo's page."""
        index = dict(
            Collections=self.collections, Models=list(self.models.values()))
        text = yaml.safe_dump(index, sort_keys=False, allow_unicode=True)
        write_text(self.metafile, HEADER + text)
        if not self.page.exists():
            return
        page = self.page.read_text()
        for name, table in (('networks', self._network_table()),
                            ('rows', self._row_table())):
            begin, end = (f'<!-- {side} of {name} -->'
                          for side in ('begin', 'end'))
            head, _, rest = page.partition(begin)
            _, found, tail = rest.partition(end)
            if not found:
                raise ValueError(f'{self.page} has no lines "{begin}" and '
                                 f'"{end}": put them where the table belongs.')
            page = f'{head}{begin}\n{table}\n{end}{tail}'
        write_text(self.page, page)

    def _network_table(self) -> str:
        lines = []
        for name, model in self.models.items():
            metadata = model['Metadata']
            weights = model.get('Weights', '')
            if weights:
                link = weights if '://' in weights else f'../{weights}'
                weights = f'[{osp.basename(weights)}]({link})'
            lines.append([
                f'[{name}](../{model["Config"]})', metadata['Training Data'],
                f'{metadata["FLOPs"] / 1e9:.3g}',
                f'{metadata["Parameters"] / 1e6:.3g}',
                format_accuracies(_metrics(model, of_paper=True)),
                format_accuracies(_metrics(model)), weights
            ])
        return format_table([
            'config', 'data set', 'GMACs', 'parameters (M)', 'paper',
            'measured here', 'checkpoint'
        ], lines)

    def _row_table(self) -> str:
        return format_table(
            ['row', 'data set', 'networks', 'metric', 'paper', 'how sure'], [[
                f'`{name}`', row['Dataset'], ' + '.join(
                    f'`{config}`' for config in row['Configs']), row['Metric'],
                f'{row["Paper"]:.1f}', row['Recipe']
            ] for name, row in self.rows.items()])


def _metrics(entry: dict, of_paper: bool = False) -> dict[str, float]:
    """The accuracies of an entry that were measured, or those of the paper."""
    return {
        name.removeprefix(PAPERS): value
        for result in entry.get('Results', [])
        for name, value in result['Metrics'].items()
        if name.startswith(PAPERS) == of_paper
    }


def format_accuracies(accuracies: dict[str, float]) -> str:
    """Accuracies in one line, such as 'top-1 54.3, mean-class 50.1'."""
    return ', '.join(
        f'{name.removesuffix(" Accuracy").lower().replace(" ", "-")} {value}'
        for name, value in accuracies.items())


def _parse(name: str) -> re.Match:
    """The parts of a config's name, which is that of a network of the zoo."""
    parts = NAME.fullmatch(name)
    if parts is None:
        raise ValueError(
            f'config {name} is not named [selfy_]{{tsm|tsn}}_{{backbone}}'
            '[_1x1x{frames}]_{dataset}[_{variant}], or with '
            'vit_{size}{patch}_videomae instead of the network, for a data '
            f'set of the zoo ({", ".join(DATASETS)}): rename it, or add its '
            'data set to tools/update_zoo.py.')
    return parts


def describe(name: str, cfg: Config, complexity: dict) -> dict:
    """Describe a config as OpenMMLab's metafiles do."""
    parts = _parse(name)
    height, width = frame_size(stage_pipeline(cfg, 'train'))
    base = 'VideoMAE' if parts['vit'] else parts['base'].upper()
    backbone = parts['vit'] or parts['backbone']
    for short, long in BACKBONES.items():
        backbone = re.sub(rf'^{short}(?=\d*$)', long, backbone)
    metadata = {
        'Architecture': [backbone, base] + ['SELFY'] * bool(parts['selfy']),
        'Batch Size': cfg.get('auto_scale_lr', {}).get(
            'base_batch_size', cfg.train_dataloader.batch_size),
        'Epochs': cfg.train_cfg.max_epochs,
        'FLOPs': complexity['flops'],
        'Parameters': complexity['params'],
        'Frames': clip_frames(cfg),
        'Resolution': f'{height}x{width}',
        'Training Data': DATASETS[parts['dataset']],
    }  # yapf: disable
    return {
        'Name': name,
        'In Collection': 'SELFY' if parts['selfy'] else base,
        'Config': f'configs/{name}.py',
        'Metadata': metadata,
        'Modality': 'RGB',
    }


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    zoo = Zoo(ROOT)
    if args.entry is None:
        zoo.update()
    elif args.entry.suffix == '.py':
        zoo.update([args.entry.stem])
    else:
        name = config_name(args.entry)
        meta = load_checkpoint(str(args.entry)).get('meta', {})
        zoo.update([name])
        zoo.enter(args.entry, meta, args.url)
    zoo.write()
    print(f'{len(zoo.models)} configs in {zoo.metafile}.')


if __name__ == '__main__':
    main()
