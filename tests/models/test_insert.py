"""insert_selfy and remove_selfy, on plain PyTorch and on other packages."""
import copy
import importlib
import pickle
import re
import subprocess
import sys
from collections import OrderedDict, namedtuple
from pathlib import Path

import pytest
import torch
from torch import nn

from selfy_mmaction.models import MOSSBlock, SELFYBlock
from selfy_mmaction.models.insert import insert_selfy, remove_selfy
from selfy_mmaction.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs/anywhere.md').read_text()
T, SIZE, C = 4, 32, 16
SELFY = dict(
    mid_channels=8,
    window=(3, 5, 5),
    extraction=dict(type='STSSConvExtraction', channels=(2, 4, 4)),
    integration=dict(type='STSSConvIntegration', channels=(4, 4)))
Output = namedtuple('Output', 'features attentions')


@MODELS.register_module()
class Numbering(nn.Module):
    """A block that keeps the maps, and numbers their positions."""

    def __init__(self, in_channels, num_segments, relu):
        super().__init__()

    def forward(self, x):
        self.seen = x
        return torch.arange(x.numel(), dtype=x.dtype).view(x.shape)


def convs(channels=C):
    """Frames to classes, [N * T, 3, H, W] => [N * T, 5]"""
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 8, 3, 4, 1),
            stage=nn.Sequential(
                nn.Conv2d(8, channels, 3, 2, 1), nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True)),
            last=nn.Conv2d(channels, 8, 1),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(8, 5)))


class Last(nn.Module):
    """A stage with the channels last, [..., C] => [..., C]"""

    def __init__(self, wrap=None):
        super().__init__()
        self.fc = nn.Linear(C, C)
        self.wrap = wrap

    def forward(self, x):
        x = x + self.fc(x)
        return self.wrap(x) if self.wrap else x


class Layer(nn.TransformerEncoderLayer):
    """A layer of a transformer, which may give more than the tokens."""

    def __init__(self, wrap):
        super().__init__(C, 2, 32, batch_first=True)
        self.wrap = wrap

    def forward(self, x):
        x = super().forward(x)
        return self.wrap(x) if self.wrap else x


class Net(nn.Module):
    """Patches, position embeddings of a fixed size, layers, classes.

    Frames [N * T, 3, H, W], or clips [N, 3, T, H, W].
    """

    def __init__(self, kind, prefix=0, wrap=None):
        super().__init__()
        size = (2, 4, 4) if kind == 'clips' else (4, 4)
        conv = nn.Conv3d if kind == 'clips' else nn.Conv2d
        self.embed = conv(3, C, size, size)
        n = 8 * 8 * (T if kind == 'clips' else 1)
        self.kind = kind
        self.prefix = nn.Parameter(torch.randn(prefix, C))
        self.positions = nn.Parameter(torch.randn(n, C))
        layer = Last if kind == 'NHWC' else Layer
        self.layers = nn.ModuleList(layer(wrap) for _ in range(3))
        self.fc = nn.Linear(C, 5)

    def forward(self, x):
        # [N, C, ...] => [N, n, C]
        x = self.embed(x).flatten(2).transpose(1, 2)
        if self.kind == 'NHWC':
            x = x.unflatten(1, (-1, SIZE // 4))[:, :, :, :]
        else:
            x = x + self.positions
            x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1)
        for layer in self.layers:
            x = layer(x)
            x = x if isinstance(x, torch.Tensor) else x[0]
        return self.fc(x.flatten(1, -2).mean(1))


FRAMES, CLIPS = (2 * T, 3, SIZE, SIZE), (2, 3, 2 * T, SIZE, SIZE)
# name: network, its input, places, arguments
CASES = {
    'NCHW, after a Sequential': (convs, FRAMES, ['stage'], {}),
    'NCHW, after a layer': (convs, FRAMES, ['stage.1', 'last'], {}),
    'NHWC': (lambda: Net('NHWC'), FRAMES, ['layers.1'], {}),
    'tokens of frames': (lambda: Net('frames'), FRAMES,
                         ['layers.0', 'layers.2'], dict(grid=(8, 8))),
    'a class token': (lambda: Net('frames', 1), FRAMES, ['layers.1'],
                      dict(grid=(8, 8), prefix_tokens=1)),
    'tokens of clips': (lambda: Net('clips'), CLIPS, ['layers.1'],
                        dict(grid=[8, 8])),
    'tokens of clips, two prefixes': (lambda: Net('clips', 2), CLIPS,
                                      ['layers.1'],
                                      dict(grid=(8, 8), prefix_tokens=2)),
    'a tuple': (lambda: Net('clips', 0, lambda x: (x, None)), CLIPS,
                ['layers.1'], dict(grid=(8, 8))),
    'a named tuple': (lambda: Net('NHWC', 0, lambda x: Output(x, None)),
                      FRAMES, ['layers.1'], {}),
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=CASES)
def case(request):
    """A network, the same with blocks, an input, and the places."""
    make, shape, after, kwargs = CASES[request.param]
    plain = make()
    net = copy.deepcopy(plain)
    assert insert_selfy(net, after, T, **kwargs, **SELFY) is net
    return plain, net, torch.randn(shape), after


def awaken(net):
    """Give the blocks a scale other than the initial zero."""
    for module in net.modules():
        if isinstance(module, SELFYBlock):
            nn.init.ones_(module.residual_add.bn.weight)
    return net


def run(net, x):
    """The scores, with dropout of the same numbers."""
    torch.manual_seed(1)
    return net(x)


def test_starts_as_the_network_was(case):
    plain, net, x, after = case
    for mode in True, False:
        assert torch.equal(run(net.train(mode), x), run(plain.train(mode), x))
        with torch.no_grad():
            assert torch.equal(run(net, x), run(plain, x))
    assert not torch.equal(run(awaken(net), x), run(plain, x))
    missing, unexpected = net.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    for name in after:
        assert any(key.startswith(f'{name}.selfy.') for key in missing)
        assert isinstance(
            net.get_submodule(name), type(plain.get_submodule(name)))
        assert isinstance(net.get_submodule(f'{name}.selfy'), SELFYBlock)
    assert all(
        key.startswith(tuple(f'{name}.selfy.' for name in after))
        for key in missing)
    assert remove_selfy(net) is net
    assert repr(net) == repr(plain)
    assert [*map(type, net.modules())] == [*map(type, plain.modules())]
    assert torch.equal(run(net, x), run(plain, x))


def test_every_parameter_receives_a_gradient(case):
    _, net, x, _ = case
    awaken(net)(x).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_copies_are_whole_and_of_their_own(case):
    _, net, x, after = case
    awaken(net).eval()
    pickled = None
    if not any(getattr(m, 'wrap', None) for m in net.modules()):
        pickled = pickle.loads(pickle.dumps(net))
    for other in filter(None, (copy.deepcopy(net), pickled)):
        assert torch.equal(other(x), net(x))
        nn.init.zeros_(
            other.get_submodule(f'{after[0]}.selfy').residual_add.bn.weight)
        assert not torch.equal(other(x), net(x))
        assert not list(remove_selfy(other).state_dict()) == list(
            net.state_dict())
    scripted = torch.compile(net, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(scripted(x), net(x))


@pytest.mark.parametrize(('make', 'shape', 'prefix'), [
    (lambda: Net('frames', 1), FRAMES, 1),
    (lambda: Net('clips', 2), CLIPS, 2),
    (lambda: Net('NHWC'), FRAMES, 0),
])
def test_tokens_become_maps_and_back(make, shape, prefix):
    net = make()
    plain, before, after = copy.deepcopy(net), [], []
    grid = None if net.kind == 'NHWC' else (8, 8)
    insert_selfy(
        net, 'layers.1', T, grid=grid, prefix_tokens=prefix, type='Numbering')
    plain.layers[1].register_forward_hook(lambda *args: before.append(args[2]))
    net.layers[1].register_forward_hook(lambda *args: after.append(args[2]))
    x = torch.randn(shape)
    net(x), plain(x)
    seen = net.layers[1].selfy.seen
    numbers = torch.arange(seen.numel()).view(seen.shape).float()
    assert seen.shape == (2 * T, C, 8, 8)
    # [N, prefix + T * h * w, C], [N * T, ...], [N * T, h, w, C]
    before, after = (
        y[0].flatten(1, -2) for y in (before, after))
    assert torch.equal(before[:, :prefix], after[:, :prefix])
    for i in range(2 * T):
        for row in range(8):
            for column in range(8):
                position = i, slice(None), row, column
                place = row * 8 + column
                clip, frame = (i // T, i % T) if len(before) == 2 else (i, 0)
                place = clip, prefix + frame * 64 + place
                assert torch.equal(seen[position], before[place])
                assert torch.equal(numbers[position], after[place])
