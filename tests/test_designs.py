"""docs/designs.md: its configs train, its numbers hold, its examples run."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from selfy_mmaction.evaluation.complexity import get_complexity

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / 'docs/designs.md').read_text()
# | design | `line` | parameters (M) | ...
ROWS = re.findall(r'^\| [^|]+ \| `(.+?)` \| ([\d.]+) \|', TEXT, re.MULTILINE)
TWO_STAGES = dict(strides=(1, 2), dilations=(1, 1))
OUTSIDE = TEXT[TEXT.index('## Outside MMAction2'):]


def arguments(line):
    """The keyword arguments that a line of a config sets."""
    return {
        keyword.arg: eval(compile(ast.Expression(keyword.value), '', 'eval'))
        for keyword in ast.parse(f'dict({line})', mode='eval').body.keywords
    }


def python_blocks(text):
    return re.findall(r'^```python\n(.+?)^```', text, re.DOTALL | re.MULTILINE)


def small_config(line):
    """The line in the config that it is meant for, with a ResNet-18, of
    which two stages do unless the line is about them."""
    cfg = Config.fromfile(ROOT / 'configs/selfy_tsm_r50_sthv1.py')
    backbone = cfg.model.backbone
    backbone.update(depth=18, pretrained=None)
    backbone.selfy.mid_channels = 16
    if 'selfy_indices' in line:
        backbone.update(arguments(line))
        cfg.model.cls_head.in_channels = 512
    else:
        backbone.selfy.update(arguments(line))
        backbone.update(num_stages=2, out_indices=(1, ), **TWO_STAGES)
        cfg.model.cls_head.in_channels = 128
    return cfg


def test_the_tables_are_read():
    assert len(ROWS) == 25
    lines = [line for line, _ in ROWS]
    for name in MODELS.module_dict:
        if name.startswith('STSS') or name == 'MOSSBlock':
            assert any(name in line for line in lines), name


@pytest.mark.parametrize('line', dict(ROWS))
def test_a_line_starts_as_its_tsm_and_trains(line):
    torch.manual_seed(0)
    cfg = small_config(line)
    with DefaultScope.overwrite_default_scope('mmaction'):
        model = MODELS.build(cfg.model)
        model.backbone.init_weights()
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
        plain = MODELS.build({**cfg.model.backbone, 'selfy_indices': ()})
    plain.load_state_dict(model.backbone.state_dict(), strict=False)
    clips = torch.randn(2, 8, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(
            model.backbone(clips.flatten(0, 1)), plain(clips.flatten(0, 1)))
    samples = [ActionDataSample().set_gt_label(label) for label in (3, 7)]
    # A step makes the scale of the last norm other than zero.
    for _ in range(2):
        losses = model(clips, samples, mode='loss')
        model.zero_grad()
        losses['loss_cls'].backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.parametrize(
    'line, parameters', [row for row in ROWS if 'selfy_indices' not in row[0]])
def test_parameters(line, parameters):
    """Those of the plain TSM and of the block after res3."""
    block = MODELS.build({
        'type': 'SELFYBlock',
        'in_channels': 512,
        'num_segments': 8,
        **arguments(line)
    })
    count = sum(parameter.numel() for parameter in block.parameters())
    plain = float(re.search(r'TSM has ([\d.]+) M', TEXT)[1])
    assert plain + count / 1e6 == pytest.approx(float(parameters), abs=0.011)


def test_the_config_is_what_it_says(tmp_path):
    block, *_ = python_blocks(TEXT)
    path = tmp_path / 'config.py'
    path.write_text(block.replace("_base_ = '", f"_base_ = '{ROOT}/configs/"))
    cfg = Config.fromfile(path)
    assert cfg.model.backbone.selfy.extraction.type == 'STSSMLPExtraction'
    assert cfg.model.backbone.selfy.window == (5, 9, 9)
    cfg = Config.fromfile(ROOT / 'configs/selfy_tsm_r50_sthv1.py')
    option, = re.findall(r'^ +(model\S+)$', TEXT, re.MULTILINE)
    cfg.merge_from_dict(dict([option.split('=')]))
    with DefaultScope.overwrite_default_scope('mmaction'):
        block = MODELS.build(
            dict(cfg.model.backbone.selfy, in_channels=8, num_segments=8))
    assert type(block.extraction).__name__ == 'STSSMLPExtraction'


def test_the_extraction_of_the_contributing_guide():
    """It trains in a network, and its cost is counted."""
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    code, = (block for block in python_blocks(text) if 'class ' in block)
    exec(code, dict(nn=nn, MODELS=MODELS))
    line = "extraction=dict(type='STSSLinearExtraction', channels=20)"
    test_a_line_starts_as_its_tsm_and_trains(line)
    cfg = small_config(line)
    cost = get_complexity(cfg, (32, 32))['flops']
    cfg.model.backbone.selfy.extraction.channels = 30
    more = get_complexity(cfg, (32, 32))['flops'] - cost
    # 8 frames of 2 x 2 positions, 5 offsets; 3 x 3 convolutions read them.
    assert more == 8 * 2 * 2 * 5 * 10 * (9 * 9 + 9 * 64)


WITHOUT_MMACTION = """
import sys

import torch

BLOCKED = {'mmaction', 'mmengine', 'mmcv', 'cv2', 'decord'}


class Blocker:

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in BLOCKED:
            raise ModuleNotFoundError(f'{name} is blocked.')


sys.meta_path.insert(0, Blocker())
before = set(sys.modules)
import selfy_mmaction
from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.ops import stss
loaded = {name.split('.')[0] for name in set(sys.modules) - before}
foreign = loaded - set(sys.stdlib_module_names) - {'selfy_mmaction', 'torch'}
assert not foreign, foreign
assert not BLOCKED & {name.split('.')[0] for name in sys.modules}
try:
    SELFYBlock(8, 8, extraction=dict(type='Other'))
except KeyError as error:
    assert 'STSSMLPExtraction' in str(error)
torch.manual_seed(0)
"""


def test_the_examples_need_pytorch_alone():
    """In a process where importing MMAction2 fails."""
    first, = python_blocks(OUTSIDE)
    code = WITHOUT_MMACTION + first + """
assert similarities.shape == (2, 8, 14, 14, 5, 9, 9)
assert displacement.shape == (2, 8, 14, 14, 5, 2)
assert features.shape == (2, 8, 64, 14, 14)
"""
    done = subprocess.run([sys.executable, '-W', 'error', '-c', code],
                          cwd=ROOT,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
