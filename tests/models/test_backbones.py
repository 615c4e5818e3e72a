"""SELFYNet against MMAction2's own TSM and the official network."""
import copy
from contextlib import contextmanager

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


@pytest.fixture(autouse=True)
def mmaction_scope():
    with DefaultScope.overwrite_default_scope('mmaction'):
        torch.manual_seed(0)
        yield


def selfynet(depth=18, **kwargs):
    kwargs = {'num_segments': 4, 'selfy': SMALL, **kwargs}
    return MODELS.build(dict(type='ResNetSELFY', depth=depth, **kwargs))


@contextmanager
def logged(caplog):
    """MMEngine's logger does not propagate to the root, where caplog is."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)


def tsm(depth=18, **kwargs):
    return MODELS.build(
        dict(type='ResNetTSM', depth=depth, num_segments=4, **kwargs))


def clip(num_clips=1, size=32):
    return torch.randn(4 * num_clips, 3, size, size)


def awaken(backbone):
    """Give the blocks a scale other than the initial zero."""
    for block in backbone.selfy.values():
        nn.init.ones_(block.residual_add.bn.weight)
    return backbone


def recognizer(backbone, num_classes=174, in_channels=2048, num_segments=8):
    return MODELS.build(
        dict(
            type='Recognizer2D',
            backbone=backbone,
            cls_head=dict(
                type='TSMHead',
                num_classes=num_classes,
                in_channels=in_channels,
                num_segments=num_segments,
                dropout_ratio=0.5)))


@pytest.mark.parametrize('layout, backbone', [
    ('selfy', dict(type='ResNetSELFY', depth=50)),
    ('tsm', dict(type='ResNetTSM', depth=50)),
    ('tsm', dict(type='ResNetSELFY', depth=50, selfy_indices=())),
])
def test_network_is_the_official_one(layout, backbone):
    golden = np.load(DATA / 'golden_net.npz')
    model = recognizer(backbone).eval()
    model.load_state_dict(
        convert_official_state_dict(official_state_dict(layout)), strict=True)
    x, = standard_normal(int(golden['seed']), (2, 8, 3, 112, 112))
    with torch.no_grad():
        logits, _ = model.extract_feat(x, stage='head')
    expected = torch.from_numpy(golden[f'{layout}_t8_hw112'])
    torch.testing.assert_close(
        logits, expected, rtol=1e-3, atol=1e-4 * expected.std().item())


SMALL_NETWORKS = pytest.mark.parametrize(
    'network', [
        dict(type='ResNetSELFY', depth=18),
        dict(type='MobileNetV2SELFY'),
    ],
    ids=lambda network: network['type'])


@pytest.mark.parametrize('network', [
    dict(type='ResNetSELFY', depth=34),
    dict(type='ResNetSELFY', depth=18, is_shift=False, selfy_indices=(0, )),
    dict(type='ResNetSELFY', depth=18, selfy_indices=(0, 1, 2, 3)),
    dict(type='ResNetSELFY', depth=18, selfy_indices=()),
    dict(type='MobileNetV2SELFY'),
    dict(type='MobileNetV2SELFY', selfy_indices=(0, 3, 6)),
])
def test_starts_as_its_tsm_or_tsn(network):
    """With the plain network's weights, and from scratch."""
    plain = {k: v for k, v in network.items() if k != 'selfy_indices'}
    plain['type'] = plain['type'].replace('SELFY', 'TSM')
    backbone, plain = (
        MODELS.build(dict(cfg, num_segments=4))
        for cfg in (dict(network, selfy=SMALL), plain))
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
        plain.load_state_dict({
            k: v
            for k, v in backbone.state_dict().items() if 'selfy' not in k
        })
        assert torch.equal(backbone(x), plain(x))
        assert not len(backbone.selfy) or not torch.equal(
            awaken(backbone)(x), plain(x))


def test_several_outputs():
    x = clip()
    outs = selfynet(out_indices=(0, 1, 3))(x)
    assert [out.shape[1] for out in outs] == [64, 128, 512]


def test_fewer_stages_are_the_first_of_all():
    whole = awaken(selfynet(out_indices=(1, ))).eval()
    part = selfynet(
        num_stages=2, strides=(1, 2), dilations=(1, 1),
        out_indices=(1, )).eval()
    part.load_state_dict({
        key: value
        for key, value in whole.state_dict().items()
        if not key.startswith(('layer3', 'layer4'))
    })
    x = clip()
    with torch.no_grad():
        assert torch.equal(part(x), whole(x))


def test_temporal_pooling():
    backbone = awaken(selfynet(temporal_pool=True, selfy_indices=(0, 1)))
    assert backbone(clip(2)).shape[0] == 4


@SMALL_NETWORKS
def test_training_from_scratch_reaches_every_parameter(network):
    backbone = MODELS.build(dict(network, num_segments=4, selfy=SMALL))
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


@pytest.mark.parametrize('block, last', [
    (SMALL, 'residual_add.bn.weight'),
    (dict(type='MOSSBlock', mid_channels=8), 'scale.weight'),
])
@pytest.mark.parametrize('whole', [False, True])
def test_the_log_says_what_the_block_set(whole, block, last, caplog,
                                         monkeypatch):
    """Not that MMEngine set the last scale, which is 0, to 1."""
    # MMEngine writes it to the log's file alone, where a runner has one.
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers', [])
    backbone = selfynet(selfy=block)
    model = backbone
    if whole:
        model = recognizer(
            dict(type='ResNetSELFY', depth=18, selfy=block), 5, 512)
    with logged(caplog):
        model.init_weights()
    line, = (
        record.getMessage() for record in caplog.records
        if f'selfy.layer2.{last} ' in record.getMessage())
    said = line[line.index(f'selfy.layer2.{last} '):].split('\n')[1]
    assert 'user-defined `init_weights`' in said


@pytest.mark.parametrize('plain, selfy', [
    (lambda: tsm(is_shift=False), dict(type='ResNetSELFY', depth=18)),
    (lambda: MODELS.build(dict(type='MobileNetV2TSM', is_shift=False)),
     dict(type='MobileNetV2SELFY')),
])
def test_2d_weights(plain, selfy, tmp_path, capsys, caplog):
    """A 2D network's file, its names those of the unshifted backbone."""
    plain = plain()
    path = str(tmp_path / '2d.pth')
    state_dict = plain.state_dict()
    if selfy['type'] == 'ResNetSELFY':
        state_dict = {
            torchvision_name(key): value
            for key, value in state_dict.items()
        }
        state_dict['fc.bias'] = torch.ones(1000)
    torch.save({'state_dict': state_dict}, path)
    backbone = MODELS.build(
        dict(**selfy, num_segments=4, selfy=SMALL, pretrained=path))
    with logged(caplog):
        backbone.init_weights()
    loaded = backbone.state_dict()
    for key, value in plain.state_dict().items():
        ours = key if key in loaded else next(
            k for k in loaded if k.replace('.net', '') == key)
        assert torch.equal(loaded[ours], value), key
    assert 'wrapped_name' not in capsys.readouterr().out
    assert 'fc.bias' not in caplog.text


def damaged(kind, plain):
    """A file for ``pretrained``, and what is said about it."""
    weights = plain.state_dict()
    key = 'layer1.0.conv1.conv.weight'
    if kind == 'of a recognizer':
        weights = {f'backbone.{name}': w for name, w in weights.items()}
        key = 'conv1.conv.weight'
    elif kind == 'without a stage':
        weights = {n: w for n, w in weights.items() if 'layer1' not in n}
    elif kind == 'complex':
        weights[key] = weights[key].to(torch.complex64)
    else:
        weights[key] = weights[key][:, 1:]
    return weights, key


@pytest.mark.parametrize('options', [
    dict(),
    dict(is_shift=False, pretrained2d=False, torchvision_pretrain=False)
])
@pytest.mark.parametrize(
    'kind',
    ['of a recognizer', 'without a stage', 'complex', 'of another width'])
def test_pretrained_is_the_whole_backbone(kind, options, tmp_path):
    path = str(tmp_path / '2d.pth')
    weights, key = damaged(kind, tsm(is_shift=False))
    torch.save(weights, path)
    backbone = selfynet(pretrained=path, **options)
    key = key.replace('weight', '(net.)?weight')
    with pytest.raises(
            ValueError,
            match=fr'pretrained={path} has no fitting {key} \(of .* go to '
            'load_from.$'):
        backbone.init_weights()


def test_torchvision_weights_are_found(tmp_path, monkeypatch):
    """Where torchvision would have put them; it need not be installed."""
    cache = tmp_path / 'hub' / 'checkpoints'
    cache.mkdir(parents=True)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    plain = tsm(is_shift=False)
    torch.save({
        torchvision_name(k): v
        for k, v in plain.state_dict().items()
    }, cache / 'resnet18-f37072fd.pth')
    backbone = selfynet(pretrained='torchvision://resnet18')
    backbone.init_weights()
    assert torch.equal(backbone.layer4[1].conv2.conv.weight,
                       plain.layer4[1].conv2.conv.weight)


def torchvision_name(key):
    """'layer1.0.conv1.bn.weight' => 'layer1.0.bn1.weight' and so on."""
    *stem, module, kind, parameter = key.split('.')
    if module == 'downsample':
        kind = {'conv': '0', 'bn': '1'}[kind]
        return '.'.join([*stem, module, kind, parameter])
    if kind == 'bn':
        module = module.replace('conv', 'bn')
    return '.'.join([*stem, module, parameter])


def test_load_from_a_tsm_checkpoint_says_what_it_leaves(tmp_path, capsys):
    path = str(tmp_path / 'tsm.pth')
    plain = recognizer(
        dict(type='ResNetTSM', depth=18, num_segments=4), 5, 512, 4)
    torch.save({'state_dict': plain.state_dict()}, path)
    model = recognizer(
        dict(type='ResNetSELFY', depth=18, num_segments=4, selfy=SMALL), 5,
        512, 4)
    load_checkpoint(model, path, map_location='cpu')
    # MMEngine's words, once
    said = capsys.readouterr().out
    assert said.count('backbone.selfy.layer2.residual_add.bn.weight') == 1
    x = clip()[None]
    plain.eval(), model.eval()
    with torch.no_grad():
        assert torch.equal(
            model.extract_feat(x, stage='head')[0],
            plain.extract_feat(x, stage='head')[0])


@pytest.mark.parametrize('kind', ['ResNet', 'MobileNetV2'])
@pytest.mark.parametrize('shift', [True, False])
def test_weights_of_another_shift_are_refused(kind, shift, tmp_path):
    """Loaded by name, each first convolution of a block would be left out."""
    depth = dict(depth=18) if kind == 'ResNet' else {}
    plain, backbone = (MODELS.build(
        dict(type=name, num_segments=4, is_shift=value, **depth))
                       for name, value in ((f'{kind}TSM', not shift),
                                           (f'{kind}SELFY', shift)))
    message = f'does not fit .*: set model.backbone.is_shift={not shift}.$'
    with pytest.raises(ValueError, match=message):
        backbone.load_state_dict(plain.state_dict(), strict=False)
    path = str(tmp_path / 'x.pth')
    torch.save(
        dict(state_dict={
            f'backbone.{key}': value
            for key, value in plain.state_dict().items()
        }), path)
    model = nn.Module()
    model.backbone = backbone
    with pytest.raises(ValueError, match=message):
        load_checkpoint(model, path)


def test_weights_shifted_elsewhere_are_refused():
    with pytest.raises(ValueError, match='depth, shift_place and temporal_p'):
        selfynet().load_state_dict(
            tsm(shift_place='block').state_dict(), strict=False)


def test_frozen_stages_leave_the_block():
    backbone = selfynet(frozen_stages=2).train()
    assert not any(p.requires_grad for p in backbone.layer2.parameters())
    assert not backbone.layer2[0].conv1.bn.training
    assert all(p.requires_grad for p in backbone.selfy.parameters())
    assert all(p.requires_grad for p in backbone.layer3.parameters())


@pytest.mark.parametrize('norm_eval', [False, True])
def test_partial_bn_leaves_the_block(norm_eval):
    backbone = selfynet(partial_bn=True, norm_eval=norm_eval).train()
    for name, norm in backbone.named_modules():
        if isinstance(norm, _BatchNorm):
            free = name == 'conv1.bn' or name.startswith('selfy.')
            assert norm.training == (free and not norm_eval), name
            assert norm.weight.requires_grad == free, name


def test_with_cp_changes_nothing():
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        backbone = awaken(selfynet(50, with_cp=with_cp)).train()
        assert backbone.selfy['layer2'].with_cp == with_cp
        backbone(clip(2)).square().mean().backward()
        gradients.append([p.grad for p in backbone.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('training', [True, False])
def test_sync_bn_conversion(training):
    """PyTorch's module synchronises the statistics of all processes."""
    backbone = awaken(selfynet()).train(training)
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


def test_fused_conv_bn():
    from mmcv.cnn import fuse_conv_bn
    backbone = awaken(selfynet())
    for module in backbone.selfy.modules():
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    x = clip()
    with torch.no_grad():
        expected = backbone.eval()(x)
        torch.testing.assert_close(
            fuse_conv_bn(backbone)(x), expected, rtol=1e-4, atol=1e-4)


def test_tsm_optim_wrapper_constructor():
    model = recognizer(
        dict(type='ResNetSELFY', depth=18, num_segments=4, selfy=SMALL), 5,
        512, 4)
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
    block = model.backbone.selfy['layer2']
    for name, parameter in block.named_parameters():
        assert decay[id(parameter)] == (0 if '.bn.' in name else 5e-4), name
    assert all(id(p) in decay for p in model.parameters())


@pytest.mark.parametrize('indices', [(4, ), (-1, ), (1, 1)])
def test_a_bad_index_is_named(indices):
    with pytest.raises(ValueError) as error:
        selfynet(selfy_indices=indices)
    assert f'from 0 to 3, but got {indices}' in str(error.value)
