"""SELFYNet against MMAction2's own TSM and the official network."""
import copy

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint
from official import DATA, official_state_dict, standard_normal
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfy_mmaction.models.convert import convert_official_state_dict

SMALL = dict(
    type='SELFYBlock',
    mid_channels=8,
    window=(3, 5, 5),
    extraction=dict(type='STSSConvExtraction', channels=(2, 4, 4)),
    integration=dict(type='STSSConvIntegration', channels=(4, 4)))
MOSS = dict(type='MOSSBlock', mid_channels=8)


@pytest.fixture(autouse=True)
def mmaction_scope():
    with DefaultScope.overwrite_default_scope('mmaction'):
        torch.manual_seed(0)
        yield


def config(type='ResNetSELFY', **kwargs):
    """Of a small backbone."""
    depth = dict(depth=18) if 'ResNet' in type else {}
    selfy = dict(selfy=SMALL) if 'SELFY' in type else {}
    return dict(type=type, num_segments=4) | depth | selfy | kwargs


def build(*args, **kwargs):
    return MODELS.build(config(*args, **kwargs))


@pytest.fixture
def log(caplog, monkeypatch):
    """MMEngine's logger does not propagate to the root, where caplog is."""
    # Of initialisation, it tells its file alone where a runner has one.
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers',
                        [caplog.handler])
    return caplog


def clip(num_clips=1, size=32):
    return torch.randn(4 * num_clips, 3, size, size)


def awaken(backbone):
    """Give the blocks a scale other than the initial zero."""
    for block in backbone.selfy.values():
        last = getattr(block, 'scale', None) or block.residual_add.bn
        nn.init.ones_(last.weight)
    return backbone


def recognizer(backbone, **head):
    head = dict(num_classes=5, in_channels=512, num_segments=4) | head
    return MODELS.build(
        dict(
            type='Recognizer2D',
            backbone=backbone,
            cls_head=dict(type='TSMHead', **head)))


@pytest.mark.parametrize('layout, backbone', [
    ('selfy', dict(type='ResNetSELFY', depth=50)),
    ('tsm', dict(type='ResNetTSM', depth=50)),
    ('tsm', dict(type='ResNetSELFY', depth=50, selfy_indices=())),
])
def test_network_is_the_official_one(layout, backbone):
    golden = np.load(DATA / 'golden_net.npz')
    head = dict(num_classes=174, in_channels=2048, num_segments=8)
    model = recognizer(backbone, **head).eval()
    model.load_state_dict(
        convert_official_state_dict(official_state_dict(layout)), strict=True)
    x, = standard_normal(int(golden['seed']), (2, 8, 3, 112, 112))
    with torch.no_grad():
        logits, _ = model.extract_feat(x, stage='head')
    expected = torch.from_numpy(golden[f'{layout}_t8_hw112'])
    torch.testing.assert_close(
        logits, expected, rtol=1e-3, atol=1e-4 * expected.std().item())


@pytest.mark.parametrize('network', [
    config(depth=34),
    config(is_shift=False, selfy_indices=(0, ), selfy=MOSS),
    config(selfy_indices=(0, 1, 2, 3)),
    config(selfy_indices=()),
    config('MobileNetV2SELFY', selfy=MOSS),
    config('MobileNetV2SELFY', selfy_indices=(0, 3, 6)),
])
def test_starts_as_its_tsm_or_tsn(network):
    """With the plain network's weights, and from scratch."""
    plain = {k: v for k, v in network.items() if 'selfy' not in k}
    plain['type'] = plain['type'].replace('SELFY', 'TSM')
    backbone, plain = MODELS.build(network), MODELS.build(plain)
    missing, unexpected = backbone.load_state_dict(
        plain.state_dict(), strict=False)
    assert not unexpected
    assert all(key.startswith('selfy.') for key in missing)
    x = clip(num_clips=2, size=40)
    with torch.no_grad():
        for mode in True, False:
            assert backbone.train(mode) is backbone
            plain.train(mode)
            assert torch.equal(backbone(x), plain(x))
        backbone.init_weights()
        assert len(backbone.selfy) == len(backbone.selfy_indices)
        assert all(
            type(block).__name__ == network['selfy']['type']
            for block in backbone.selfy.values())
        weights = backbone.state_dict()
        plain.load_state_dict(
            {key: weights[key]
             for key in plain.state_dict()})
        assert torch.equal(backbone(x), plain(x))
        assert not len(backbone.selfy) or not torch.equal(
            awaken(backbone)(x), plain(x))


def test_several_outputs_and_temporal_pooling():
    backbone = awaken(
        build(temporal_pool=True, selfy_indices=(0, 1), out_indices=(0, 1, 3)))
    assert [out.shape[:2] for out in backbone(clip(2))] == [(8, 64), (4, 128),
                                                            (4, 512)]


def test_fewer_stages_are_the_first_of_all():
    whole = awaken(build(out_indices=(1, ))).eval()
    part = build(
        num_stages=2, strides=(1, 2), dilations=(1, 1),
        out_indices=(1, )).eval()
    weights = whole.state_dict()
    part.load_state_dict({key: weights[key] for key in part.state_dict()})
    x = clip()
    with torch.no_grad():
        assert torch.equal(part(x), whole(x))


@pytest.mark.parametrize('type', ['ResNetSELFY', 'MobileNetV2SELFY'])
def test_training_from_scratch_reaches_every_parameter(type):
    backbone = build(type)
    backbone.init_weights()
    for block in backbone.selfy.values():
        assert not block.residual_add.bn.weight.any()
        weight = block.integration.convs[0].conv.weight
        fan_out = weight.shape[0] * 9
        assert 0.7 < weight.std() / (2 / fan_out)**0.5 < 1.3
    out = awaken(backbone).train()(clip(2))
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
    with pytest.raises(ValueError, match='6 frames .* model.backbone.num_seg'):
        backbone(torch.randn(6, 3, 32, 32))


@pytest.mark.parametrize('model, last', [
    (lambda: build(), 'residual_add.bn.weight'),
    (lambda: recognizer(config(selfy=MOSS)), 'scale.weight'),
])
def test_the_log_says_what_the_block_set(model, last, log):
    """Not that MMEngine set the last scale, which is 0, to 1."""
    model().init_weights()
    line, = (
        record.getMessage() for record in log.records
        if f'selfy.layer2.{last} ' in record.getMessage())
    said = line[line.index(f'selfy.layer2.{last} '):].split('\n')[1]
    assert 'user-defined `init_weights`' in said


def torchvision_name(key):
    """'layer1.0.conv1.bn.weight' => 'layer1.0.bn1.weight' and so on."""
    *stem, module, kind, parameter = key.split('.')
    if module == 'downsample':
        kind = {'conv': '0', 'bn': '1'}[kind]
        return '.'.join([*stem, module, kind, parameter])
    if kind == 'bn':
        module = module.replace('conv', 'bn')
    return '.'.join([*stem, module, parameter])


@pytest.mark.parametrize('kind', ['ResNet', 'MobileNetV2'])
def test_2d_weights(kind, tmp_path, monkeypatch, capsys, log):
    """A file with the names of the unshifted backbone, or torchvision's."""
    plain = build(f'{kind}TSM', is_shift=False)
    weights, path = plain.state_dict(), str(tmp_path / '2d.pth')
    file = path
    if kind == 'ResNet':
        # where torchvision would have put them; it need not be installed
        monkeypatch.setenv('TORCH_HOME', str(tmp_path))
        path = 'torchvision://resnet18'
        file = tmp_path / 'hub/checkpoints/resnet18-f37072fd.pth'
        file.parent.mkdir(parents=True)
        weights = {torchvision_name(key): x for key, x in weights.items()}
        weights['fc.bias'] = torch.ones(1000)
    torch.save(weights, file)
    backbone = build(f'{kind}SELFY', pretrained=path)
    backbone.init_weights()
    loaded = {
        key.replace('.net', ''): x
        for key, x in backbone.state_dict().items()
    }
    for key, value in plain.state_dict().items():
        assert torch.equal(loaded[key.replace('.net', '')], value), key
    assert 'wrapped_name' not in capsys.readouterr().out
    assert 'fc.bias' not in log.text


KEY = 'layer1.0.conv1.conv.weight'
NO_2D = dict(is_shift=False, pretrained2d=False, torchvision_pretrain=False)


@pytest.mark.parametrize('options', [{}, NO_2D])
@pytest.mark.parametrize('damage, named', [
    (lambda key, w: {
        f'backbone.{key}': w
    }, 'conv1.conv.weight'),
    (lambda key, w: {} if 'layer1' in key else {
        key: w
    }, KEY),
    (lambda key, w: {
        key: w.to(torch.complex64) if key == KEY else w
    }, KEY),
    (lambda key, w: {
        key: w[:, 1:] if key == KEY else w
    }, KEY),
])
def test_pretrained_is_the_whole_backbone(damage, named, options, tmp_path):
    path, weights = str(tmp_path / '2d.pth'), {}
    for key, weight in build('ResNetTSM', is_shift=False).state_dict().items():
        weights |= damage(key, weight)
    torch.save(weights, path)
    named = named.replace('weight', '(net.)?weight')
    with pytest.raises(
            ValueError,
            match=fr'pretrained={path} has no fitting {named} \(of .* go to '
            'load_from.$'):
        build(pretrained=path, **options).init_weights()


def test_load_from_a_tsm_checkpoint_says_what_it_leaves(tmp_path, capsys):
    path = str(tmp_path / 'tsm.pth')
    torch.save(recognizer(config('ResNetTSM')).state_dict(), path)
    load_checkpoint(recognizer(config()), path, map_location='cpu')
    # MMEngine's words, once
    said = capsys.readouterr().out
    assert said.count('backbone.selfy.layer2.residual_add.bn.weight') == 1


@pytest.mark.parametrize('kind, given, own, remedy', [
    ('ResNet', {}, dict(is_shift=False), 'set model.backbone.is_shift=True'),
    ('MobileNetV2', dict(is_shift=False), {},
     'set model.backbone.is_shift=False'),
    ('ResNet', dict(shift_place='block'), {}, 'set depth, shift_place and t'),
])
def test_weights_of_another_shift_are_refused(kind, given, own, remedy,
                                              tmp_path):
    """Loaded by name, each first convolution of a block would be left out."""
    model, plain = nn.Module(), nn.Module()
    model.backbone = build(f'{kind}SELFY', **own)
    plain.backbone = build(f'{kind}TSM', **given)
    path = str(tmp_path / 'x.pth')
    torch.save(plain.state_dict(), path)
    with pytest.raises(ValueError, match=f'does not fit .*: {remedy}'):
        load_checkpoint(model, path)


def test_frozen_stages_leave_the_block():
    backbone = build(frozen_stages=2).train()
    for part, free in ('layer2', False), ('selfy', True), ('layer3', True):
        part = getattr(backbone, part)
        assert all(p.requires_grad == free for p in part.parameters())
    assert not backbone.layer2[0].conv1.bn.training


@pytest.mark.parametrize('norm_eval', [False, True])
def test_partial_bn_leaves_the_block(norm_eval):
    backbone = build(partial_bn=True, norm_eval=norm_eval).train()
    for name, norm in backbone.named_modules():
        if isinstance(norm, _BatchNorm):
            free = name == 'conv1.bn' or name.startswith('selfy.')
            assert norm.training == (free and not norm_eval), name
            assert norm.weight.requires_grad == free, name


@pytest.mark.parametrize('with_cp', [False, True])
def test_with_cp_is_for_the_block_too(with_cp):
    block = build(depth=50, with_cp=with_cp).selfy['layer2']
    assert block.with_cp == with_cp


def test_sync_bn_conversion():
    """PyTorch's module synchronises the statistics of all processes."""
    backbone = awaken(build()).train()
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(backbone))
    norms = [m for m in synced.modules() if isinstance(m, _BatchNorm)]
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    called = set()
    for norm in norms:
        norm.register_forward_hook(lambda norm, *_: called.add(norm))
    x = clip()
    with torch.no_grad():
        torch.testing.assert_close(
            synced(x), backbone(x), rtol=1e-4, atol=1e-4)
    assert called == {*norms}


@pytest.mark.parametrize('selfy', [SMALL, MOSS])
def test_tsm_optim_wrapper_constructor(selfy):
    model = recognizer(config(selfy=selfy))
    optimizer = build_optim_wrapper(
        model,
        dict(
            constructor='TSMOptimWrapperConstructor',
            paramwise_cfg=dict(fc_lr5=False),
            optimizer=dict(type='SGD', lr=0.01, weight_decay=5e-4)))
    decay = {
        id(p): group['weight_decay']
        for group in optimizer.param_groups
        for p in group['params']
    }
    assert all(id(p) in decay for p in model.parameters())
    for name, parameter in model.backbone.selfy.named_parameters():
        if selfy is SMALL:
            expected = 0 if '.bn.' in name else 5e-4
            assert decay[id(parameter)] == expected, name


@pytest.mark.parametrize('indices', [(4, ), (-1, ), (1, 1)])
def test_a_bad_index_is_named(indices):
    with pytest.raises(ValueError) as error:
        build(selfy_indices=indices)
    assert f'from 0 to 3, but got {indices}' in str(error.value)
