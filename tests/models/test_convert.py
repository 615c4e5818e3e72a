"""Official checkpoints, from the file to the recognizer."""
import re
from collections import OrderedDict

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint
from official import LAYOUTS, official_state_dict, tsm_code_state_dict
from release_files import read_classes

from selfy_mmaction.models.convert import convert_official_state_dict


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


def test_without_dropout_the_classifier_is_fc1():
    converted = convert_official_state_dict(
        {'module.base_model.fc1.weight': torch.ones(3, 5, 1)})
    assert converted['cls_head.fc_cls.weight'].shape == (3, 5)


@pytest.mark.parametrize('keys, named', [
    ([], 'no key at all'),
    (['backbone.conv1.conv.weight'], 'backbone.conv1'),
    (['module.base_model.conv1.scale'], 'conv1.scale'),
    (['module.base_model.selfy.conv.weight'], 'selfy.conv'),
    ([1], '1'),
    ([], 'new_fc'),
    ([f'layer{i}' for i in range(9)], 'and 6 more'),
    ([*official_state_dict('tsm'), 'module.base_model.layer3.22.conv1.weight'
      ], 'which shifts every block, '),
])
def test_unknown_keys_are_named(keys, named):
    weights = dict.fromkeys(keys, torch.ones(1))
    if named == 'new_fc':
        weights = {'module.new_fc.weight': 'a text'}
    with pytest.raises(ValueError, match=f'^.*{named}.*$'):
        convert_official_state_dict(weights)


@pytest.fixture
def convert(tmp_path, call_tool):
    """Convert weights by the tool; returns its output and the new file."""

    def convert(state_dict, *args):
        src, dst = tmp_path / 'official.pth.tar', tmp_path / 'converted.pth'
        torch.save(dict(epoch=50, arch='SELFY', state_dict=state_dict), src)
        return call_tool('convert_checkpoint', src, dst, *args), dst

    return convert


@pytest.mark.parametrize(('weights', 'option', 'network', 'dataset'), [
    (lambda n: official_state_dict('selfy'), None, 'selfy_tsm', 'sthv1'),
    (lambda n: official_state_dict('tsm'), None, 'tsm', 'sthv1'),
    (lambda n: tsm_code_state_dict(True, n), None, 'tsm', 'sthv1'),
    (lambda n: tsm_code_state_dict(True, n), 'tsm_r50_sthv2', 'tsm', 'sthv2'),
    (lambda n: tsm_code_state_dict(True, n), None, 'tsm', 'k400'),
    (lambda n: tsm_code_state_dict(False, n), None, 'tsn', 'k400'),
])
def test_checkpoints_fit_their_config(weights, option, network, dataset, repo,
                                      convert):
    classes = read_classes(repo, dataset)
    args = ['--config', repo / f'configs/{option}.py'] if option else []
    out, dst = convert(weights(len(classes)), *args)
    config = f'configs/{network}_r50_{dataset}.py'
    assert config in out
    # The lists of V1 alone are numbered in another order.
    assert ('give --renumber' in out) == (dataset == 'sthv1')
    with DefaultScope.overwrite_default_scope('mmaction'):
        model = MODELS.build(Config.fromfile(repo / config).model)
    load_checkpoint(model, str(dst), strict=True)
    meta = torch.load(dst)['meta']
    assert meta['dataset_meta']['classes'] == sorted(classes)


def test_resnet101_of_tsms_code(convert):
    weights = tsm_code_state_dict(depth=101)
    with pytest.raises(
            SystemExit,
            match='is of a ResNet-101, .*tsm_r50_sthv1'
            '.* --cfg-options model.backbone.depth=101'):
        convert(weights)
    assert convert(weights, '--cfg-options',
                   'model.backbone.depth=101')[1].exists()


def test_class_order(convert):
    """Alphabetical and named so, or that of the config."""
    official = official_state_dict('tsm')
    by_name = {}
    for flags in ((), ('--renumber', )):
        out, dst = convert(official, *flags)
        assert ('give --renumber' in out) == (not flags)
        saved = torch.load(dst)
        names = saved['meta']['dataset_meta']['classes']
        assert (names == sorted(names)) == (not flags)
        biases = saved['state_dict']['cls_head.fc_cls.bias'].tolist()
        by_name[flags] = dict(zip(names, biases, strict=True))
    first, second = by_name.values()
    assert first == second
    assert list(first.values()) == official['module.new_fc.bias'].tolist()


@pytest.mark.parametrize('change, named', [
    ({
        'module.new_fc.weight': torch.ones(101, 2048, 1)
    }, 'fc_cls.weight has shape (101, 2048) instead of (174, 2048)'),
    ({
        'optimizer.state': torch.ones(1)
    }, "'optimizer.state'"),
    (None, 'layer1.0.conv3.conv.weight is missing'),
])
def test_what_does_not_fit_is_one_line(change, named, convert, tmp_path):
    weights = official_state_dict('tsm')
    if change is None:  # only what a ResNet-18 has
        change = {}
        for key in [*weights]:
            if re.search(r'layer\d\.[2-9]|(conv|bn)3|1.0.downsample', key):
                del weights[key]
    with pytest.raises(SystemExit) as error:
        convert(weights | change)
    assert named in error.value.code
    assert '\n' not in error.value.code
    assert not (tmp_path / 'converted.pth').exists()


@pytest.mark.parametrize('content', [None, b'', b'not a checkpoint'])
def test_a_bad_file_is_one_line(content, run_tool, tmp_path):
    src = tmp_path / 'official.pth.tar'
    if content is not None:
        src.write_bytes(content)
    message = run_tool('convert_checkpoint', src, tmp_path / 'converted.pth')
    assert str(src) in message and '\n' not in message
