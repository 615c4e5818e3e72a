"""Official checkpoints, from the file to the recognizer."""
import re
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from official import LAYOUTS, official_state_dict, tsm_code_state_dict
from release_files import read_classes

from selfy_mmaction.models.convert import convert_official_state_dict

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_key_is_used_once(layout):
    official = official_state_dict(layout)
    converted = convert_official_state_dict(official)
    assert isinstance(converted, OrderedDict)
    assert len(converted) == len(official)
    bare = {key.removeprefix('module.'): v for key, v in official.items()}
    assert convert_official_state_dict(bare).keys() == converted.keys()


@pytest.mark.parametrize('shift', [True, False])
def test_tsms_code_names_what_is_shifted(shift):
    saved = tsm_code_state_dict(shift)
    converted = convert_official_state_dict(saved)
    assert len(converted) == len(saved)
    # Of the weights it is the same network as in the official layout.
    for key, tensor in convert_official_state_dict(
            official_state_dict('tsm')).items():
        if not shift:
            key = key.replace('.net.', '.')
        torch.testing.assert_close(converted[key], tensor)


def test_why_not_an_official_resnet101():
    key = 'module.base_model.layer3.22.conv1.weight'
    official = {**official_state_dict('tsm'), key: torch.ones(256, 1024, 1, 1)}
    with pytest.raises(ValueError, match='which shifts every block, .* be co'):
        convert_official_state_dict(official)


def test_without_dropout_the_classifier_is_fc1():
    converted = convert_official_state_dict(
        {'module.base_model.fc1.weight': torch.ones(3, 5, 1)})
    assert converted['cls_head.fc_cls.weight'].shape == (3, 5)


@pytest.mark.parametrize('state_dict, named', [
    ({}, 'no key at all'),
    ({
        'backbone.conv1.conv.weight': torch.ones(1)
    }, 'backbone.conv1'),
    ({
        'module.base_model.conv1.scale': torch.ones(1)
    }, 'conv1.scale'),
    ({
        'module.base_model.selfy.conv.weight': torch.ones(1)
    }, 'selfy.conv'),
    ({
        'module.new_fc.weight': 'a text'
    }, 'new_fc.weight'),
    ({
        1: torch.ones(1)
    }, '1'),
    ({
        f'layer{i}': torch.ones(1)
        for i in range(9)
    }, 'and 6 more'),
])
def test_unknown_keys_are_named(state_dict, named):
    with pytest.raises(ValueError) as error:
        convert_official_state_dict(state_dict)
    assert named in str(error.value)
    assert '\n' not in str(error.value)


def convert(*args):
    return subprocess.run(
        [sys.executable, ROOT / 'tools/convert_checkpoint.py', *args],
        capture_output=True,
        text=True)


def save_official(path, state_dict):
    torch.save(
        dict(epoch=50, arch='SELFY', best_prec1=0.0, state_dict=state_dict),
        path)
    return path


def build(config):
    from mmaction.registry import MODELS
    from mmengine.registry import DefaultScope
    with DefaultScope.overwrite_default_scope('mmaction'):
        return MODELS.build(Config.fromfile(ROOT / 'configs' / config).model)


@pytest.mark.parametrize('layout, config', [
    ('selfy', 'selfy_tsm_r50_sthv1.py'),
    ('tsm', 'tsm_r50_sthv1.py'),
])
def test_command_line(layout, config, tmp_path):
    src = save_official(tmp_path / 'official.pth.tar',
                        official_state_dict(layout))
    dst = tmp_path / 'converted.pth'
    result = convert(src, dst)
    assert result.returncode == 0, result.stderr
    assert config in result.stdout
    load_checkpoint(build(config), str(dst), strict=True)


@pytest.mark.parametrize(('shift', 'args', 'network', 'dataset'), [
    (True, [], 'tsm', 'sthv1'),
    (True, ['--config', f'{ROOT}/configs/tsm_r50_sthv2.py'], 'tsm', 'sthv2'),
    (True, [], 'tsm', 'k400'),
    (False, [], 'tsn', 'k400'),
])
def test_checkpoints_of_tsms_code(shift, args, network, dataset, tmp_path,
                                  load_tool, monkeypatch, capsys):
    classes = read_classes(ROOT, dataset)
    src = save_official(tmp_path / 'tsm.pth',
                        tsm_code_state_dict(shift, len(classes)))
    dst = tmp_path / 'converted.pth'
    monkeypatch.setattr(sys, 'argv', ['convert', str(src), str(dst), *args])
    load_tool('convert_checkpoint').main()
    config = f'{network}_r50_{dataset}.py'
    out = capsys.readouterr().out
    assert f'configs/{config}' in out
    # The lists of V1 alone are numbered in another order.
    assert ('give --renumber' in out) == (dataset == 'sthv1')
    load_checkpoint(build(config), str(dst), strict=True)
    meta = torch.load(dst)['meta']
    assert meta['dataset_meta']['classes'] == sorted(classes)


def test_resnet101_of_tsms_code(tmp_path, load_tool, run_tool, monkeypatch):
    src = save_official(tmp_path / 'tsm.pth', tsm_code_state_dict(depth=101))
    dst = tmp_path / 'converted.pth'
    message = run_tool('convert_checkpoint', src, dst)
    assert f'is of a ResNet-101, {ROOT}/configs/tsm_r50_sthv1.py' in message
    assert '--cfg-options model.backbone.depth=101' in message
    assert not dst.exists()
    monkeypatch.setattr(sys, 'argv', [
        'convert',
        str(src),
        str(dst), '--cfg-options', 'model.backbone.depth=101'
    ])
    load_tool('convert_checkpoint').main()
    assert dst.exists()


def test_class_order(tmp_path):
    """Alphabetical and named so, or that of the config."""
    official = official_state_dict('tsm')
    src = save_official(tmp_path / 'official.pth.tar', official)
    biases = official['module.new_fc.bias']
    by_name = {}
    for flags in ((), ('--renumber', )):
        result = convert(src, tmp_path / 'converted.pth', *flags)
        assert ('give --renumber' in result.stdout) == (not flags)
        saved = torch.load(tmp_path / 'converted.pth')
        names = saved['meta']['dataset_meta']['classes']
        assert (names == sorted(names)) == (not flags)
        by_name[flags] = dict(
            zip(names,
                saved['state_dict']['cls_head.fc_cls.bias'].tolist(),
                strict=True))
    assert by_name[()] == by_name[
        '--renumber',
    ]
    assert list(by_name[()].values()) == biases.tolist()


def resnet18_keys(state_dict):
    """Only the blocks, and their convolutions, that a ResNet-18 has."""
    return {
        key: value
        for key, value in state_dict.items()
        if not re.search(r'layer\d\.[2-9]|conv3|bn3|layer1.0.downsample', key)
    }


@pytest.mark.parametrize('break_it, named', [
    (resnet18_keys, 'layer1.0.conv3.conv.weight is missing'),
    (lambda official: {
        **official, 'module.new_fc.weight': torch.ones(101, 2048, 1)
    }, 'fc_cls.weight has shape (101, 2048) instead of (174, 2048)'),
    (lambda official: {
        **official, 'optimizer.state': torch.ones(1)
    }, "'optimizer.state'"),
])
def test_what_does_not_fit_is_one_line(break_it, named, tmp_path):
    src = save_official(tmp_path / 'official.pth.tar',
                        break_it(official_state_dict('tsm')))
    dst = tmp_path / 'converted.pth'
    result = convert(src, dst)
    assert result.returncode == 1
    assert named in result.stderr
    assert result.stderr.count('\n') == 1
    assert not dst.exists()


@pytest.mark.parametrize('content', [None, b'', b'not a checkpoint'])
def test_a_bad_file_is_one_line(content, tmp_path):
    src = tmp_path / 'official.pth.tar'
    if content is not None:
        src.write_bytes(content)
    result = convert(src, tmp_path / 'converted.pth')
    assert result.returncode == 1
    assert str(src) in result.stderr
    assert result.stderr.count('\n') == 1
