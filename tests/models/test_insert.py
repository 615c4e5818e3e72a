"""insert_selfy and remove_selfy: on plain PyTorch, on MMAction2's ResNet, and
on timm, torchvision and transformers where they are installed."""
import ast
import copy
import importlib
import os
import pickle
import re
import subprocess
import sys
from collections import OrderedDict, namedtuple
from pathlib import Path

import pytest
import torch
from torch import nn

from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.models.insert import insert_selfy, remove_selfy
from selfy_mmaction.registry import HAS_MMACTION, MODELS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs/anywhere.md').read_text()
T, C = 4, 16
FRAMES, CLIPS = (2 * T, 3, 32, 32), (2, 3, 2 * T, 32, 32)
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


def convs(*stage, channels=8):
    """Frames [N * T, 3, H, W] => [N * T, 5]"""
    stage = stage or (nn.Conv2d(8, channels, 3, 2, 1),
                      nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 8, 3, 4, 1),
            stage=nn.Sequential(*stage),
            last=nn.Conv2d(channels, 8, 1),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(8, 5)))


class Children(nn.Module):
    """Runs all its children, as RegNet's stages do, and keeps their input."""

    def __init__(self, scale=1):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.scale = scale

    def forward(self, x):
        self.input = x
        for child in self.children():
            x = child(x)
        return x if self.scale == 1 else x * self.scale


class Layer(nn.Module):
    """Features with the channels last, [..., C] => [..., C]"""

    def __init__(self, kind, wrap):
        super().__init__()
        self.body = nn.Linear(C, C) if kind == 'maps' else (
            nn.TransformerEncoderLayer(C, 2, 32, batch_first=True))
        self.wrap = wrap

    def forward(self, x):
        x = self.body(x)
        return self.wrap(x) if self.wrap else x


def pair(x):
    return x, None


def named(x):
    return Output(x, None)


class Net(nn.Module):
    """Patches of 4 x 4 pixels, position embeddings, layers, classes.

    Of frames [N * T, 3, 32, 32], or of clips [N, 3, 2 * T, 32, 32].
    """

    def __init__(self, kind, prefix=0, wrap=None):
        super().__init__()
        self.kind = kind
        if kind == 'clips':
            self.embed = nn.Conv3d(3, C, (2, 4, 4), (2, 4, 4))
        else:
            self.embed = nn.Conv2d(3, C, 4, 4)
        length = dict(maps=1, frames=64, clips=64 * T)[kind]
        if prefix:
            self.prefix = nn.Parameter(torch.randn(1, prefix, C))
        self.positions = nn.Parameter(torch.randn(length, C))
        self.layers = nn.ModuleList(Layer(kind, wrap) for _ in range(3))
        self.fc = nn.Linear(C, 5)

    def forward(self, x):
        # => [N * T, h, w, C], [N * T, 64, C] or [N, T * 64, C]
        x = self.embed(x)
        x = x if self.kind == 'maps' else x.flatten(2)
        x = x.movedim(1, -1) + self.positions
        if hasattr(self, 'prefix'):
            x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1)
        for layer in self.layers:
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
        return self.fc(x.flatten(1, -2).mean(1))


# name: network, an input, places, arguments
CASES = {
    'a sequence': (convs, FRAMES, ['stage'], {}),
    'children': (lambda: convs(Children()), FRAMES, ['stage.0'], {}),
    'layers': (convs, FRAMES, ['stage.1', 'last'], {}),
    'channels last': (lambda: Net('maps'), FRAMES, ['layers.1'], {}),
    'frames': (lambda: Net('frames'), FRAMES, ['layers.0', 'layers.2.body'],
               dict(grid=(8, 8))),
    'frames, class token': (lambda: Net('frames', 1), FRAMES, ['layers.1'],
                            dict(grid=(8, 8), prefix_tokens=1)),
    'clips': (lambda: Net('clips'), CLIPS, ['layers.1'], dict(grid=[8, 8])),
    'clips, two tokens, tuple': (lambda: Net('clips', 2, pair), CLIPS,
                                 ['layers.1'],
                                 dict(grid=(8, 8), prefix_tokens=2)),
    'named tuple': (lambda: Net('maps', 0, named), FRAMES, ['layers.1'], {}),
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
    torch.manual_seed(1)
    return net(x)


def test_starts_as_the_network_was_and_ends_as_it(case):
    plain, net, x, after = case
    for mode in True, False:
        for grad in True, False:
            with torch.set_grad_enabled(grad):
                outs = [run(m.train(mode), x) for m in (plain, net)]
            assert torch.equal(*outs)
    missing, unexpected = net.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert {key.partition('.selfy.')[0] for key in missing} == {*after}
    for name in after:
        place = net.get_submodule(name)
        assert isinstance(place, type(plain.get_submodule(name)))
        assert isinstance(place.selfy, SELFYBlock)
    assert not torch.equal(awaken(net)(x), outs[0])
    assert remove_selfy(net) is net
    assert repr(net) == repr(plain)
    assert [*map(type, net.modules())] == [*map(type, plain.modules())]
    assert torch.equal(net(x), outs[0])


def test_every_parameter_receives_a_gradient(case):
    _, net, x, _ = case
    awaken(net)(x).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_copies_are_whole_and_of_their_own(case):
    _, net, x, after = case
    scores = awaken(net).eval()(x)
    for other in copy.deepcopy(net), pickle.loads(pickle.dumps(net)):
        assert torch.equal(other(x), scores)
        remove_selfy(other)
        assert not torch.equal(other(x), scores)
    assert torch.equal(net(x), scores)


def test_compiles_and_exports(case, tmp_path):
    """Without a break of the graph, and for any number of clips."""
    _, net, x, _ = case
    scores = awaken(net).eval()(x)
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), scores)
    number = torch.export.Dim('number', min=1)
    number = number if x.dim() == 5 else T * number
    program = torch.export.export(net, (x, ), dynamic_shapes=({0: number}, ))
    double = torch.cat([x, x])
    torch.testing.assert_close(program.module()(double), net(double))


@pytest.mark.parametrize(('kind', 'prefix'), [('maps', 0), ('frames', 1),
                                              ('clips', 2)])
def test_outputs_become_maps_and_back(kind, prefix):
    net, outs = Net(kind, prefix), []
    plain = copy.deepcopy(net)
    grid = None if kind == 'maps' else (8, 8)
    insert_selfy(
        net, 'layers.1', T, grid=grid, prefix_tokens=prefix, type='Numbering')
    x = torch.randn(CLIPS if kind == 'clips' else FRAMES)
    for model in plain, net:
        model.layers[1].register_forward_hook(
            lambda *args: outs.append(args[2].flatten(1, -2)))
        model.eval()(x)
    (before, after), seen = outs, net.layers[1].selfy.seen
    numbers = torch.arange(seen.numel()).view(seen.shape).float()
    n = T if kind == 'clips' else 1
    assert seen.shape == (2 * T, C, 8, 8)
    assert after.shape == before.shape == (2 * T // n, prefix + n * 64, C)
    assert torch.equal(after[:, :prefix], before[:, :prefix])
    for t in range(2 * T):
        for i in range(8):
            for j in range(8):
                place = t // n, prefix + t % n * 64 + i * 8 + j
                assert torch.equal(seen[t, :, i, j], before[place])
                assert torch.equal(numbers[t, :, i, j], after[place])


@pytest.mark.skipif(not HAS_MMACTION, reason='needs MMAction2')
@pytest.mark.parametrize('is_shift', [True, False])
def test_same_numbers_as_ResNetSELFY(is_shift):
    ours, net = (
        MODELS.build(
            dict(
                type='ResNetSELFY',
                depth=18,
                num_segments=T,
                is_shift=is_shift,
                selfy=SELFY | dict(type='SELFYBlock'),
                selfy_indices=indices)) for indices in ((1, ), ()))
    ours.init_weights(), net.init_weights()
    awaken(ours)
    insert_selfy(net, 'layer2', T, **SELFY)
    names = {key.replace('selfy.layer2', 'layer2.selfy'): key
             for key in ours.state_dict()}
    weights = ours.state_dict()
    net.load_state_dict({name: weights[key] for name, key in names.items()})
    x, outs = torch.randn(2 * T, 3, 64, 64), []
    for model in ours, net:
        outs.append(model(x))
        outs[-1].square().sum().backward()
    assert torch.equal(*outs)
    theirs = dict(ours.named_parameters())
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter.grad, theirs[names[name]].grad), name
    assert torch.equal(net.eval()(x), ours.eval()(x))


@pytest.mark.parametrize(('after', 'given', 'relu'), [
    ('stage', {}, True), ('stage.2', {}, True), ('stage.1', {}, False),
    ('stage', dict(relu=False), False), ('stem', dict(in_channels=8), False)])
def test_relu_if_the_output_comes_out_of_one(after, given, relu):
    """Even of frozen networks; nothing of the pass is left."""
    net = convs().requires_grad_(False).double()
    net.stage[1].eval()
    before = copy.deepcopy(net.state_dict())
    insert_selfy(net, after, T, **given, **SELFY)
    block = net.get_submodule(after).selfy
    assert block.residual_add.relu == relu
    assert {p.dtype for p in block.parameters()} == {torch.double}
    assert [m.training for m in (net, net.stem, net.stage[1], block)] == [
        True, True, False, after != 'stage.1']
    assert net.state_dict().keys() >= before.keys()
    assert all(torch.equal(net.state_dict()[k], before[k]) for k in before)
    net(torch.randn(FRAMES).double()).sum().backward()
    assert {name.partition('selfy')[0] for name, p in net.named_parameters()
            if p.grad is not None} == {f'{after}.'}


def test_a_pass_changes_no_attribute():
    net = insert_selfy(convs(Children()), 'stage.0', T, **SELFY)
    assert not hasattr(net.stage[0], 'input')


@pytest.mark.parametrize('type', ['SELFYBlock', 'MOSSBlock'])
def test_checkpointing_and_autocast(type):
    plain = convs()
    nets = [
        insert_selfy(
            copy.deepcopy(plain), 'stage', T, type=type, window=(3, 5, 5),
            with_cp=with_cp) for with_cp in (True, False)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.randn(FRAMES)
    outs = [net(x) for net in nets]
    for out in outs:
        out.square().sum().backward()
    assert torch.equal(*outs)
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    for net in nets:
        with torch.autocast('cpu', torch.bfloat16):
            scores = net.eval()(x), plain.eval()(x)
        assert torch.equal(*scores) and scores[0].dtype == torch.bfloat16


def test_networks_that_take_no_zeros():
    """Given the channels, they are not needed."""
    net = nn.Sequential(nn.Linear(8, C), nn.GELU())
    plain, x = copy.deepcopy(net), torch.randn(2 * T, 6, 5, 8)
    insert_selfy(net, '0', T, in_channels=C, layout='NHWC', **SELFY)
    assert torch.equal(net(x), plain(x))
    assert not torch.equal(awaken(net)(x), plain(x))


MISTAKES = [
    (convs, dict(after='stagee'), "no submodule 'stagee'; the nearest are st"),
    (convs, dict(after='flatten'), r'flatten gives \[4, 8\], not maps.* grid='),
    (convs, dict(after=()), 'after must name a submodule'),
    (convs, dict(num_segments=0), 'num_segments must be a positive integer'),
    (convs, dict(layout='HWC'), "layout must be one of .* 'HWC'"),
    (convs, dict(prefix_tokens=1), 'give their grid'),
    (lambda: convs(channels=28), {},
     r'stage gives \[4, 28, 28, 28\], .* give layout='),
    (lambda: convs(Children(2)), dict(after='stage.0'), 'its own children'),
    (lambda: nn.Sequential(nn.Linear(3, 3)), dict(after='0'),
     'no convolution.*: give in_channels'),
    (lambda: Net('frames'), dict(after='layers'), 'ModuleList: no block'),
    (lambda: Net('frames'), dict(after='layers.1'),
     r'what layers.1 gives \(.*\): give in_channels, .* grid'),
    (lambda: Net('frames'),
     dict(after='layers.1', grid=(8, 8), prefix_tokens=1),
     r'\[4, 64, 16\], .* 65 tokens of a frame, or 257 of a clip'),
    (lambda: Net('maps', 0, dict), dict(after='layers.1'), 'Net'),
]


@pytest.mark.parametrize(('make', 'given', 'message'), MISTAKES)
def test_mistakes_are_named(make, given, message):
    net = make()
    before = repr(net)
    with pytest.raises(ValueError, match=message) as error:
        insert_selfy(net, **dict(after='stage', num_segments=T) | given)
    assert '\n' not in str(error.value)
    assert repr(net) == before


def test_other_mistakes():
    net = insert_selfy(convs(), 'stage', T, **SELFY)
    with pytest.raises(ValueError, match='stage has a block: remove_selfy'):
        insert_selfy(net, ['stem', 'stage'], T, **SELFY)
    assert not hasattr(net.stem, 'selfy')
    with pytest.raises(ValueError, match='6 frames and num_segments=4'):
        net(torch.randn(FRAMES)[:6])
    net.last.forward = net.last.forward
    with pytest.raises(ValueError, match='forward of last was replaced'):
        insert_selfy(net, 'last', T)


def start(script, folder, *args):
    """Run a script where MMAction2 cannot be imported."""
    path = folder / 'script.py'
    path.write_text(f"import sys\nsys.modules['mmaction'] = None\n{script}"
                    "\nassert 'mmengine' not in sys.modules\n")
    done = subprocess.run([sys.executable, *args, str(path)], cwd=folder,
                          capture_output=True, text=True,
                          env=os.environ | dict(PYTHONPATH=str(ROOT)))
    assert done.returncode == 0, done.stderr
    return done.stdout


WORKER = """
import torch
from torch import distributed, nn

distributed.init_process_group('gloo')
torch.manual_seed(distributed.get_rank())
net = torch.load('net.pth', weights_only=False)
ddp = nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.SGD(ddp.parameters(), 0.1)
for _ in range(2):
    ddp(torch.randn(8, 3, 32, 32)).square().sum().backward()
    optimizer.step()
weights = nn.utils.parameters_to_vector(net.parameters())
both = [torch.empty_like(weights) for _ in range(2)]
distributed.all_gather(both, weights)
assert torch.equal(*both)
torch.save(net, 'trained.pth')
"""


def test_a_saved_network_trains_in_two_processes(tmp_path):
    net = awaken(insert_selfy(convs(), ['stem', 'stage'], T, **SELFY))
    torch.save(net, tmp_path / 'net.pth')
    start(WORKER, tmp_path, '-m', 'torch.distributed.run', '--standalone',
          '--nproc-per-node', '2')
    trained = torch.load(tmp_path / 'trained.pth', weights_only=False)
    for (name, p), other in zip(
            net.named_parameters(), trained.parameters(), strict=True):
        assert not torch.equal(p, other), name
