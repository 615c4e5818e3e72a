"""The model zoo: its metafile and the tables of its page."""
import os
import os.path as osp
import re
from collections.abc import Callable
from pathlib import Path

import yaml
from mmengine.config import Config

from ..datasets.recipes import clip_frames, frame_size, stage_pipeline
from ..engine.errors import describe_error
from ..files import write_text
from .complexity import get_complexity
from .tables import format_table

PAPER = dict(
    Title='Learning Self-Similarity in Space and Time As Generalized Motion '
    'for Video Action Recognition',
    URL='https://arxiv.org/abs/2102.07092')
COLLECTIONS = dict(
    SELFY=PAPER,
    TSM=dict(
        Title='TSM: Temporal Shift Module for Efficient Video Understanding',
        URL='https://arxiv.org/abs/1811.08383'),
    TSN=dict(
        Title='Temporal Segment Networks: Towards Good Practices for Deep '
        'Action Recognition',
        URL='https://arxiv.org/abs/1608.00859'),
    VideoMAE=dict(
        Title='VideoMAE: Masked Autoencoders are Data-Efficient Learners for '
        'Self-Supervised Video Pre-Training',
        URL='https://arxiv.org/abs/2203.12602'))
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
# Configs of the same data set and network.
VARIANTS = ('2clip', )
# A user's own data set, of any other name, is the rest of the name.
NAME = re.compile(
    r'(?P<selfy>selfy_)?(?:(?P<base>ts[mn])_(?P<backbone>[a-z0-9]+)'
    r'(_1x1x(?P<frames>\d+))?|(?P<vit>vit_[a-z]\d+)_videomae)'
    rf'_((?P<dataset>{"|".join(DATASETS)})(_({"|".join(VARIANTS)}))?'
    r'|(?P<own>\w+))')
# These read any folder of videos: the number of classes is unknown.
OPEN = ('selfy_tsm_r18_folder', 'selfy_tsm_r50_folder')
BACKBONES = dict(r='ResNet-', mobilenetv2='MobileNetV2', vit_b='ViT-B/')
# before the metrics of the paper, to keep them apart from those measured here
PAPERS = 'Paper '
HEADER = """\
# Written by tools/update_zoo.py (configs, complexity, the paper's accuracies
# from paper.yml) and tools/publish_model.py (weights, measured accuracies).
# FLOPs are multiply-adds of one clip. What begins with "Paper" is the paper's.
"""
BEGIN, END = '<!-- begin of {} -->', '<!-- end of {} -->'


class Zoo:
    """The metafile, the paper's rows and the table of a project.

    Args:
        root (os.PathLike): The folder that holds ``configs``.
    """

    def __init__(self, root: os.PathLike) -> None:
        self.root = Path(root)
        self.metafile = self.root / 'configs/metafile.yml'
        self.page = self.root / 'docs/model_zoo.md'
        self.rows = yaml.safe_load(
            (self.root / 'configs/paper.yml').read_text())
        index = {}
        if self.metafile.exists():
            index = yaml.safe_load(self.metafile.read_text())
        self.models = {
            model['Name']: model
            for model in index.get('Models', [])
        }

    def update(
            self,
            measure: Callable[..., dict] = get_complexity) -> dict[str, str]:
        """Update the entries from the configs.

        Weights and measured accuracies are kept, and so are entries of
        configs that cannot be described now.

        Args:
            measure (Callable): Counts the ``flops`` and ``params`` of a
                config, given the size of the frames.

        Returns:
            dict[str, str]: Configs that cannot be described, and why.
        """
        models, complexities, left_out = {}, {}, {}
        for path in sorted(self.root.glob('configs/*.py')):
            if path.stem in OPEN:
                continue
            old = self.models.get(path.stem, {})
            try:
                cfg = Config.fromfile(path)
                size = frame_size(stage_pipeline(cfg, 'train'))
                # Many configs have the same network.
                network = str((cfg.model, size))
                if network not in complexities:
                    complexities[network] = measure(cfg, size)
                entry = describe(path.stem, cfg, complexities[network])
            # A user's config may have any network, and raise anything.
            except Exception as error:
                left_out[path.stem] = describe_error(error)
                if old:
                    models[path.stem] = old
                continue
            metrics = self._paper_metrics(path.stem)
            for result in old.get('Results', []):
                metrics |= {
                    name: value
                    for name, value in result['Metrics'].items()
                    if not name.startswith(PAPERS)
                }
            _set_metrics(entry, metrics)
            if 'Weights' in old:
                entry['Weights'] = old['Weights']
            models[path.stem] = entry
        self.models = models
        return left_out

    def _paper_metrics(self, name: str) -> dict[str, float]:
        """Metrics that the paper reports for this network alone."""
        return {
            PAPERS + row['Metric']: row['Paper']
            for row in self.rows.values() if row['Configs'] == [name]
        }

    def enter(
        self,
        name: str,
        weights: str,
        accuracies: dict[str, float],
    ) -> None:
        """Enter a published checkpoint, replacing an earlier one."""
        entry = self.models[name]
        metrics = self._paper_metrics(name) | {
            metric: round(value, 2)
            for metric, value in accuracies.items()
        }
        entry.pop('Results', None)
        _set_metrics(entry, metrics)
        entry['Weights'] = weights

    def write(self) -> None:
        """Write the metafile and, if it exists, the zoo's page."""
        used = {model['In Collection'] for model in self.models.values()}
        index = dict(
            Collections=[
                dict(Name=name, README='../docs/model_zoo.md', Paper=paper)
                for name, paper in COLLECTIONS.items() if name in used
            ],
            Models=list(self.models.values()))
        text = yaml.safe_dump(index, sort_keys=False, allow_unicode=True)
        write_text(self.metafile, HEADER + text)
        if self.page.exists():
            page = self.page.read_text()
            for name, table in (('networks', self._network_table()),
                                ('rows', self._row_table())):
                begin, end = BEGIN.format(name), END.format(name)
                head, _, rest = page.partition(begin)
                _, found, tail = rest.partition(end)
                if not found:
                    raise ValueError(f'{self.page} has no lines "{begin}" and '
                                     f'"{end}": put them where the table '
                                     'belongs.')
                page = f'{head}{begin}\n{table}\n{end}{tail}'
            write_text(self.page, page)

    def _network_table(self) -> str:
        lines = []
        for name, model in self.models.items():
            metadata = model['Metadata']
            metrics = {}
            for result in model.get('Results', []):
                metrics = result['Metrics']
            weights = model.get('Weights', '')
            if weights:
                link = weights
                if '://' not in link:
                    link = f'../{weights}'
                weights = f'[{osp.basename(weights)}]({link})'
            lines.append([
                f'[{name}](../{model["Config"]})',
                metadata['Training Data'],
                f'{metadata["FLOPs"] / 1e9:.3g}',
                f'{metadata["Parameters"] / 1e6:.3g}',
                _format_metrics({
                    key.removeprefix(PAPERS): value
                    for key, value in metrics.items() if PAPERS in key
                }),
                _format_metrics({
                    key: value
                    for key, value in metrics.items() if PAPERS not in key
                }),
                weights,
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


def _format_metrics(metrics: dict[str, float]) -> str:
    return ', '.join(
        f'{name.removesuffix(" Accuracy").lower().replace(" ", "-")} {value}'
        for name, value in metrics.items())


def _set_metrics(entry: dict, metrics: dict[str, float]) -> None:
    if metrics:
        entry['Results'] = [
            dict(
                Task='Action Recognition',
                Dataset=entry['Metadata']['Training Data'],
                Metrics=metrics)
        ]


def describe(name: str, cfg: Config, complexity: dict) -> dict:
    """Describe a config as OpenMMLab's metafiles do.

    Args:
        name (str): The config's name, which names network and data set.
        cfg (Config): The config.
        complexity (dict): Its ``flops`` and ``params``.
    """
    parts = NAME.fullmatch(name)
    if parts is None:
        raise ValueError(
            f'config {name} is not named [selfy_]{{tsm|tsn}}_{{backbone}}'
            '[_1x1x{frames}]_{dataset}[_{variant}], or with '
            'vit_{size}{patch}_videomae instead of the network.')
    height, width = frame_size(stage_pipeline(cfg, 'train'))
    base = 'VideoMAE' if parts['vit'] else parts['base'].upper()
    backbone = parts['vit'] or parts['backbone']
    for short, long in BACKBONES.items():
        backbone = re.sub(rf'^{short}(?=\d*$)', long, backbone)
    return {
        'Name': name,
        'In Collection': 'SELFY' if parts['selfy'] else base,
        'Config': f'configs/{name}.py',
        'Metadata': {
            'Architecture':
            [backbone, base, *(['SELFY'] if parts['selfy'] else [])],
            'Batch Size':
            cfg.get('auto_scale_lr', {}).get('base_batch_size',
                                             cfg.train_dataloader.batch_size),
            'Epochs':
            cfg.train_cfg.max_epochs,
            'FLOPs':
            complexity['flops'],
            'Parameters':
            complexity['params'],
            'Frames':
            clip_frames(cfg),
            'Resolution':
            f'{height}x{width}',
            'Training Data':
            parts['own'] or DATASETS[parts['dataset']],
        },
        'Modality': 'RGB',
    }
