"""ViTSELFY against MMAction2's own VisionTransformer."""
import copy
import itertools

import pytest
import torch
from blocks import SELFY, assert_learns, awaken
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint
from torch import nn

SMALL = dict(
    img_size=32,
    patch_size=8,
    embed_dims=32,
    depth=3,
    num_heads=2,
    num_frames=4)


@MODELS.register_module()
class Marker(nn.Module):
    """Any block: it keeps the maps, and numbers their positions."""

    def __init__(self, in_channels, num_segments, **kwargs):
        super().__init__()
        self.sizes = in_channels, num_segments

    def init_weights(self):
        pass

    def forward(self, x):
        self.seen = x
        return torch.arange(x.numel(), dtype=x.dtype).view(x.shape)


@pytest.fixture(autouse=True)
def mmaction_scope():
    with DefaultScope.overwrite_default_scope('mmaction'):
        torch.manual_seed(0)
        yield


def config(type='ViTSELFY', **kwargs):
    blocks = dict(selfy=SELFY, selfy_indices=(1, )) if 'SELFY' in type else {}
    return dict(type=type) | SMALL | blocks | kwargs


def vit(**kwargs):
    return MODELS.build(config('VisionTransformer', **kwargs))


def selfy_vit(**kwargs):
    return MODELS.build(config(**kwargs))


def clips(height=32, width=32):
    return torch.randn(2, 3, 4, height, width)


def recognizer(*args, **kwargs):
    """A backbone with a head."""
    return MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=config(*args, **kwargs),
            cls_head=dict(
                type='TimeSformerHead',
                num_classes=5,
                in_channels=32,
                average_clips='prob')))


@pytest.mark.parametrize('size', [(32, 32), (40, 24)])
@pytest.mark.parametrize(('indices', 'options'), [
    ((), {}),
    ((0, 2), {}),
    ((2, ), dict(use_mean_pooling=False)),
    ((0, 1, 2), dict(return_feat_map=True)),
    ((1, ), dict(use_learnable_pos_emb=True, init_values=0.5)),
    ((1, ), dict(tubelet_size=1, qkv_bias=False)),
])
def test_starts_as_the_plain_transformer(device, indices, options, size):
    backbone = selfy_vit(selfy_indices=indices, **options).to(device)
    backbone.init_weights()
    plain = vit(**options).to(device)
    missing, unexpected = backbone.load_state_dict(
        plain.state_dict(), strict=False)
    assert not unexpected
    assert all(key.startswith('selfy.') for key in missing)
    assert len(backbone.selfy) == len(indices)
    x = clips(*size).to(device)
    with torch.no_grad():
        for mode in True, False:
            backbone.train(mode), plain.train(mode)
            assert torch.equal(backbone(x), plain(x))
        assert not indices or not torch.equal(awaken(backbone)(x), plain(x))


def test_drop_path_draws_the_same_numbers():
    options = dict(drop_path_rate=0.5, drop_rate=0.5)
    backbone, plain = selfy_vit(**options), vit(**options)
    backbone.load_state_dict(plain.state_dict(), strict=False)
    x = clips()
    outs = []
    for model in backbone, plain:
        torch.manual_seed(1)
        outs.append(model.train()(x))
    assert torch.equal(*outs)


@pytest.mark.parametrize('tubelet_size', [1, 2])
def test_tokens_become_maps_and_back(tubelet_size):
    """Of any type of block."""
    backbone = selfy_vit(selfy=dict(type='Marker'), tubelet_size=tubelet_size)
    block = backbone.selfy['1']
    T, h, w = 4 // tubelet_size, 5, 3
    assert block.sizes == (32, T)
    tokens = {}
    for i in 0, 1, 2:
        backbone.blocks[i].register_forward_pre_hook(
            lambda _, args, i=i: tokens.update({i: args[0]}))
    # before the block, hence without it
    plain = copy.deepcopy(backbone.blocks[1])
    plain._forward_hooks.clear(), plain._forward_pre_hooks.clear()
    with torch.no_grad():
        backbone(clips(h * 8, w * 8))
        before = plain(tokens[1])
    numbers = torch.arange(2 * T * 32 * h * w).view(2 * T, 32, h, w)
    assert tokens[2].shape == before.shape == (2, T * h * w, 32)
    for b, t, i, j in itertools.product(*map(range, (2, T, h, w))):
        place = b, (t * h + i) * w + j
        position = b * T + t, slice(None), i, j
        assert torch.equal(block.seen[position], before[place])
        assert torch.equal(tokens[2][place], numbers[position].float())


def test_learns_and_copies_have_blocks_of_their_own():
    backbone, x = selfy_vit(selfy_indices=(0, 1, 2)).eval(), clips()
    before = backbone(x)
    other = awaken(copy.deepcopy(backbone))
    assert torch.equal(backbone(x), before)
    assert not torch.equal(other(x), before)
    assert_learns(other, x)


def test_initialisation_leaves_the_blocks_to_themselves():
    selfy = dict(SELFY, integration=dict(type='LinearIntegration'))
    linear = nn.Linear(4, 6)

    @MODELS.register_module(force=True)
    class LinearIntegration(nn.Module):
        out_channels = 6

        def __init__(self, **kwargs):
            super().__init__()
            self.linear = copy.deepcopy(linear)

    backbone = selfy_vit(selfy=selfy)
    backbone.init_weights()
    block = backbone.selfy['1']
    assert torch.equal(block.integration.linear.weight, linear.weight)
    assert not block.residual_add.bn.weight.any()
    # as the plain transformer's
    assert backbone.blocks[0].attn.proj.weight.std() < 0.03


def test_checkpoint_of_the_plain_network_scores_the_same(tmp_path):
    plain = recognizer('VisionTransformer').eval()
    path = tmp_path / 'plain.pth'
    torch.save(dict(state_dict=plain.state_dict()), path)
    model = recognizer().eval()
    model.init_weights()
    load_checkpoint(model, str(path), logger='silent')
    # [B, views, C, T, H, W]
    views = torch.randn(2, 3, 3, 4, 32, 32)
    scores = []
    for network in model, plain:
        with torch.no_grad():
            samples = network.predict(views,
                                      [ActionDataSample() for _ in range(2)])
        scores.append(torch.stack([s.pred_score for s in samples]))
    assert torch.equal(*scores)


def test_pretrained_is_the_whole_backbone(tmp_path):
    plain, path = vit(), str(tmp_path / 'x.pth')
    nn.init.normal_(plain.fc_norm.weight)
    weights, x = plain.state_dict(), clips()
    torch.save(weights, path)
    backbone = selfy_vit(pretrained=path)
    backbone.init_weights()
    assert torch.equal(backbone(x), plain(x))
    for others in ({
            f'backbone.{key}': w
            for key, w in weights.items()
    }, vit(depth=2).state_dict()):
        torch.save(others, path)
        with pytest.raises(ValueError, match='x.pth has no fitting .* go to '):
            selfy_vit(pretrained=path).init_weights()


def optimizer(model, constructor='SELFYLayerDecayConstructor', **paramwise):
    return build_optim_wrapper(
        model,
        dict(
            constructor=constructor,
            paramwise_cfg=paramwise or None,
            optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05)))


def settings_of(wrapper):
    """Parameter -> rate and weight decay."""
    return {
        p: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }


@pytest.mark.parametrize(('frozen_stages', 'still'), [
    (-1, ()),
    (0, ('patch_embed', 'pos_embed')),
    (2, ('patch_embed', 'pos_embed', 'blocks.0', 'blocks.1')),
    (3, ('patch_embed', 'pos_embed', 'blocks', 'fc_norm')),
])
def test_frozen_stages_stay_as_they_are(frozen_stages, still):
    model = recognizer(
        selfy_indices=(0, 2),
        frozen_stages=frozen_stages,
        use_learnable_pos_emb=True,
        drop_path_rate=0.1)
    still = tuple(f'backbone.{part}' for part in still)
    frozen = {n for n, _ in model.named_parameters() if n.startswith(still)}
    assert bool(frozen) == bool(still)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    wrapper = optimizer(model, decay_rate=0.75)
    samples = [ActionDataSample().set_gt_label(label) for label in (1, 3)]
    model.train()
    for _ in range(2):
        losses = model(clips()[:, None], samples, mode='loss')
        wrapper.update_params(losses['loss_cls'])
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) == (name in frozen), name
    # nothing is drawn at random in what is frozen
    modes = [layer.training for layer in model.backbone.blocks]
    assert modes == [i >= frozen_stages for i in range(3)]
    assert model.backbone.selfy.training


def test_rates_fall_from_layer_to_layer():
    model = recognizer()
    settings = settings_of(optimizer(model, decay_rate=0.5))
    rates = {
        'patch_embed': 1 / 16,
        'blocks.0': 1 / 8,
        'blocks.1': 1 / 4,
        'blocks.2': 1 / 2,
    }
    ours = {}
    for name, p in model.named_parameters():
        rate = next((rate for part, rate in rates.items()
                     if name.startswith(f'backbone.{part}.')), 1)
        ours[name] = settings.pop(p)
        assert ours[name] == (rate, 0.05 if p.ndim > 1 else 0), name
    assert not settings
    # as in MMAction2, for the network that its constructor takes
    plain = recognizer('VisionTransformer')
    expected = settings_of(
        optimizer(
            plain,
            'LearningRateDecayOptimizerConstructor',
            decay_rate=0.5,
            num_layers=3))
    for name, p in plain.named_parameters():
        assert ours[name] == expected[p], name


@pytest.mark.parametrize(('options', 'message'), [
    (dict(selfy_indices=(3, )), 'selfy_indices must be different .* 0 to 2'),
    (dict(selfy_indices=(1, 1)), 'selfy_indices must be different'),
    (dict(num_frames=5), 'num_frames=5 and tubelet_size=2'),
    (dict(frozen_stages=4), 'frozen_stages must be from -1 to 3'),
    ({}, 'num_frames=4 frames, but got clips of 2'),
    (dict(drop_path=0.1), 'ViTSELFY has no argument drop_path'),
])
def test_mistakes_are_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        selfy_vit(**options)(clips()[:, :, :2])


@pytest.mark.parametrize('paramwise', [{}, dict(decay_rate=0.75, layers=12)])
def test_settings_of_the_constructor_are_checked(paramwise):
    with pytest.raises(ValueError, match='must have only the key decay_rate'):
        optimizer(recognizer(), **paramwise)
