"""What a training may start from."""
import copy

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from selfy_mmaction.engine.checkpoint import check_start, load_checkpoint

CONFIG = dict(
    type='Recognizer2D',
    backbone=dict(
        type='ResNetSELFY',
        depth=18,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(1, ),
        pretrained=None,
        selfy=dict(type='SELFYBlock', mid_channels=8)),
    cls_head=dict(type='TSMHead', num_classes=4, in_channels=128))
# MMAction2's TSM has no fewer.
FOUR_STAGES = dict(num_stages=4, strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))


def build(type='ResNetSELFY', num_classes=4, **backbone):
    init_default_scope('mmaction')
    cfg = copy.deepcopy(CONFIG)
    cfg['backbone'].update(type=type, **backbone)
    cfg['cls_head']['num_classes'] = num_classes
    if type != 'ResNetSELFY':
        del cfg['backbone']['selfy']
    return MODELS.build(cfg)


@pytest.fixture(scope='module')
def model():
    return build()


@pytest.fixture
def tsm(model):
    """A checkpoint of MMAction2's own TSM of that size."""
    weights = {
        key: torch.randn(value.shape) if value.ndim else value
        for key, value in model.state_dict().items() if '.selfy.' not in key
    }
    return dict(meta={}, state_dict=weights)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_all_but_the_block_comes_from_the_checkpoint(model, tsm, prefix):
    tsm['state_dict'] = {
        prefix + key: value
        for key, value in tsm['state_dict'].items()
    }
    given = dict(tsm['state_dict'])
    assert check_start(model, tsm, 'tsm.pth') == [
        'tsm.pth has no SELFY block backbone.selfy.layer2: it keeps its '
        'initialisation.'
    ]
    own = model.state_dict()
    for key, value in tsm['state_dict'].items():
        assert value is given.get(key) or torch.equal(value, own[key])
    # MMEngine ignores num_batches_tracked.
    assert {key.removeprefix('module.')
            for key in tsm['state_dict']} >= {
                key
                for key in own if not key.endswith('num_batches_tracked')
            }


def test_a_classifier_of_other_classes_is_new(model, tsm):
    wide = build(num_classes=7)
    assert check_start(wide, tsm, 'tsm.pth')[1:] == [
        'The classifier is new: 4 classes in tsm.pth, 7 in the config.'
    ]
    head = wide.state_dict()['cls_head.fc_cls.weight']
    assert torch.equal(tsm['state_dict']['cls_head.fc_cls.weight'], head)
    del tsm['state_dict']['cls_head.fc_cls.weight']
    assert check_start(model, tsm, 'tsm.pth') == [
        'The classifier is new: no classes in tsm.pth, 4 in the config.'
    ]


@pytest.mark.parametrize('pattern, message', [
    ('layer1.0.conv2', 'backbone.layer1.0.conv2.conv.weight is missing'),
    ('selfy.layer2.extraction', r'backbone.selfy.layer2.extraction\S+ is '),
])
def test_nothing_else_may_be_missing(model, pattern, message):
    checkpoint = dict(
        state_dict={
            key: value
            for key, value in model.state_dict().items() if pattern not in key
        })
    with pytest.raises(ValueError, match=f'x.pth does not fit .*: {message}'):
        check_start(model, checkpoint, 'x.pth')


def test_a_block_of_another_window_is_refused(model):
    other = build(
        selfy=dict(type='SELFYBlock', mid_channels=8, window=(3, 9, 9)))
    with pytest.raises(ValueError, match='x.pth does not fit .* has shape '):
        check_start(model, dict(state_dict=other.state_dict()), 'x.pth')


@pytest.mark.parametrize('backbone, key', [
    (dict(depth=34), r'layer1.2.conv1.conv\S+'),
    (dict(selfy_indices=(0, 1)), r'selfy.layer1\S+'),
    (dict(type='ResNetTSM', **FOUR_STAGES), r'layer3.0.conv1.conv\S+'),
])
def test_nothing_of_the_backbone_may_be_left_over(model, backbone, key):
    weights = build(**backbone).state_dict()
    with pytest.raises(
            ValueError,
            match=f'x.pth does not fit .*: backbone.{key} is unknown '
            r'\(and \d+ more\); use the config it was trained with.$'):
        check_start(model, dict(state_dict=weights), 'x.pth')


def test_what_is_beside_the_backbone_may_be_left_over(model):
    weights = dict(model.state_dict(), **{'neck.bias': torch.ones(3)})
    assert check_start(model, dict(state_dict=weights), 'x.pth') == []


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_plain_network_leaves_the_blocks_out(prefix):
    tsm = build('ResNetTSM', **FOUR_STAGES)
    weights = {
        prefix + name: value
        for name, value in build(**FOUR_STAGES).state_dict().items()
    }
    assert check_start(tsm, dict(state_dict=weights), 'x.pth') == [
        'x.pth has SELFY blocks, the model of the config has none: they are '
        'left out.'
    ]
    # MMEngine would warn about them.
    assert {key.removeprefix('module.')
            for key in weights} == tsm.state_dict().keys()


@pytest.mark.parametrize('kind', ['ResNetSELFY', 'ResNetTSM'])
@pytest.mark.parametrize('shift', [False, True])
def test_another_shift_is_named(kind, shift):
    model, other = (
        build(kind, is_shift=value, **FOUR_STAGES)
        for value in (shift, not shift))
    with pytest.raises(ValueError, match=f'set .*is_shift={not shift}.$'):
        check_start(model, dict(state_dict=other.state_dict()), 'x.pth')


@pytest.mark.parametrize('name, value, fault', [
    ('fc.bias', torch.ones(1, dtype=torch.complex64), 'fc.bias are complex'),
    ('a\n2026/11/25 - forged', torch.ones(1), r"'a\\n2026"),
    ('fc.bias', 'text', "'fc.bias' is a str among its weights"),
])
def test_what_is_no_weight_is_named(name, value, fault, tsm, tmp_path):
    path = tmp_path / 'x.pth'
    tsm['state_dict'][name] = value
    torch.save(tsm, path)
    with pytest.raises(ValueError, match=f'^.*x.pth is not .*{fault}.*$'):
        load_checkpoint(str(path))


HUB = dict(log_scalars={}, runtime_info={}, resumed_keys={})


@pytest.mark.parametrize('meta, hub, fault', [
    ({}, [1], 'its message_hub is a list'),
    ({}, dict(HUB, log_scalars={'a\nb': 1}), 'log_scalars of its message_hub'),
    (dict(epoch='1'), HUB, "the epoch of its meta is '1'"),
    (dict(config='import os'), HUB, 'its meta has a config, which MMEngine'),
])
def test_what_cannot_be_resumed_is_named(meta, hub, fault, tsm, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    sound = dict(
        tsm, meta=dict(epoch=1, iter=4), optimizer={}, message_hub=HUB)
    torch.save(sound, path)
    load_checkpoint(str(path), to_resume=True)
    torch.save(dict(sound, meta=sound['meta'] | meta, message_hub=hub), path)
    with pytest.raises(ValueError, match=f'epoch_1.pth cannot .*{fault}'):
        load_checkpoint(str(path), to_resume=True)
    # its weights can be taken
    load_checkpoint(str(path))
