"""The model zoo: its metafile and the tables of its page."""
import os
import os.path as osp
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from mmengine.config import Config

from ..datasets.recipes import clip_frames, frame_size, stage_pipeline
from ..engine.launch import load_config
from ..files import write_text
from .complexity import get_complexity
from .publishing import config_name

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
NAME = re.compile(
    r'(?P<selfy>selfy_)?(?:(?P<base>ts[mn])_(?P<backbone>[a-z0-9]+)'
    r'(_1x1x\d+)?|(?P<vit>vit_[a-z]\d+)_videomae)'
    rf'_(?P<dataset>{"|".join(DATASETS)})(_({"|".join(VARIANTS)}))?')
BACKBONES = dict(r='ResNet-', mobilenetv2='MobileNetV2', vit_b='ViT-B/')
# before the metrics of the paper, to keep them apart from those measured here
PAPERS = 'Paper '
HEADER = """\
# Written by tools/update_zoo.py: configs, complexity and, of networks that
# tools/publish_model.py has published, the file, its epochs and accuracies.
# FLOPs are multiply-adds of one clip. What begins with "Paper" is the paper's,
# from paper.yml.
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
        models = yaml.safe_load(self.metafile.read_text())['Models']
        self.models = {model['Name']: model for model in models}

    def update(self,
               names: Sequence[str] | None = None,
               measure: Callable[..., dict] = get_complexity) -> None:
        """Describe configs again, keeping what was published.

        Args:
            names (Sequence[str], optional): Names of the configs. By default
                all that are of a data set of the zoo; entries of others, and
                of configs that are gone, are then removed.
            measure (Callable): Counts the ``flops`` and ``params`` of a
                config, given the size of the frames.

        Raises:
            FileNotFoundError: If there is no such config.
            ValueError: If a config cannot be read, or is of no data set of
                the zoo.
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
            cfg = load_config(str(self.root / f'configs/{name}.py'), {})
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
        """Enter a published checkpoint, replacing an earlier one.

        Args:
            checkpoint (Path): The file, in the project unless there is a URL.
            meta (dict): What is in it: the ``epoch``, if it was trained by
                epochs, and the ``accuracies``, if they were measured.
            url (str, optional): The folder that it will be downloaded from.

        Raises:
            ValueError: If it would replace measured accuracies by none, or
                cannot be found by others.
        """
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


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; without rows, its head, for rows printed later.

    Args:
        head (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): The cells of each row.
    """
    return '\n'.join(map(format_row, [head, ['---'] * len(head), *rows]))


def format_row(cells: Sequence[str]) -> str:
    """One line of such a table."""
    return f'| {" | ".join(cells)} |'


def _parse(name: str) -> re.Match:
    """The parts of a config's name, which is that of a network of the zoo."""
    parts = NAME.fullmatch(name)
    if parts is None:
        raise ValueError(
            f'config {name} is not named [selfy_]{{tsm|tsn}}_{{backbone}}'
            '[_1x1x{frames}]_{dataset}[_{variant}], or with '
            'vit_{size}{patch}_videomae instead of the network, for a data '
            f'set of the zoo ({", ".join(DATASETS)}): rename it, or add its '
            'data set to selfy_mmaction/evaluation/zoo.py.')
    return parts


def describe(name: str, cfg: Config, complexity: dict) -> dict:
    """Describe a config as OpenMMLab's metafiles do.

    Args:
        name (str): The config's name, which names network and data set.
        cfg (Config): The config.
        complexity (dict): Its ``flops`` and ``params``.
    """
    parts = _parse(name)
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
            DATASETS[parts['dataset']],
        },
        'Modality': 'RGB',
    }
