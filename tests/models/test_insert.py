"""insert_selfy and remove_selfy, on networks of plain PyTorch."""
import copy
import os
import pickle
import subprocess
import sys
from collections import OrderedDict, namedtuple
from pathlib import Path

import pytest
import torch
from torch import nn

from selfy_mmaction import SELFYBlock, insert_selfy, remove_selfy
from selfy_mmaction.registry import HAS_MMACTION, MODELS

ROOT = Path(__file__).resolve().parents[2]
T, C = 4, 16
FRAMES, CLIPS = (2 * T, 3, 32, 32), (2, 3, 2 * T, 32, 32)
SELFY = dict(
    mid_channels=8,
    window=(3, 5, 5),
    extraction=dict(type='STSSConvExtraction', channels=(2, 4, 4)),
    integration=dict(type='STSSConvIntegration', channels=(4, 4)))
Output = namedtuple('Output', 'features attentions', defaults=[None])


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
    stage = stage or (nn.Conv2d(
        8, channels, 3, 2, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 8, 3, 4, 1),
            stage=nn.Sequential(*stage),
            last=nn.Conv2d(channels, 8, 1),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(8, 5)))


class Children(nn.Module):
    """Runs all its children, as stages of RegNet do, and keeps their size."""

    def __init__(self, scale=1):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.scale = scale

    def forward(self, x):
        self.size = x.shape
        for child in self.children():
            x = child(x)
        return x if self.scale == 1 else x * self.scale


class Layer(nn.Module):
    """[..., C] => [..., C], perhaps in a tuple; with attention in frames."""

    def __init__(self, kind, wrap):
        super().__init__()
        self.body = nn.Linear(C, C) if kind != 'frames' else (
            nn.TransformerEncoderLayer(C, 2, 32, batch_first=True))
        self.wrap = wrap

    def forward(self, x):
        x = self.body(x)
        return self.wrap(x) if self.wrap else x


def pair(x):
    return x, None


def example(net):
    return torch.randn(
        CLIPS if getattr(net, 'kind', '') == 'clips' else FRAMES)


class Net(nn.Module):
    """Patches of 4 x 4 pixels, position embeddings, layers, classes.

    Of frames [N * T, 3, 32, 32], or of clips [N, 3, 2 * T, 32, 32].
    """

    def __init__(self, kind, prefix=0, wrap=None):
        super().__init__()
        self.kind = kind
        self.embed = nn.Conv2d(3, C, 4, 4) if kind != 'clips' else (nn.Conv3d(
            3, C, (2, 4, 4), (2, 4, 4)))
        length = dict(maps=1, frames=64, clips=64 * T)[kind]
        self.positions = nn.Parameter(torch.randn(length, C))
        if prefix:
            self.prefix = nn.Parameter(torch.randn(1, prefix, C))
        self.layers = nn.ModuleList(Layer(kind, wrap) for _ in range(3))
        self.fc = nn.Linear(C, 5)

    def forward(self, x):
        # => [N * T, h, w, C], [N * T, 64, C] or [N, T * 64, C]
        x = self.embed(x)
        x = x if self.kind == 'maps' else x.flatten(2)
        x = x.movedim(1, -1) + self.positions
        if hasattr(self, 'prefix'):
            x = torch.cat([self.prefix.expand(x.shape[0], -1, -1), x], 1)
        for layer in self.layers:
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
        return self.fc(x.flatten(1, -2).mean(1))


# name: network, places, grid, prefix tokens
CASES = {
    'sequence': (convs, ['stage'], None, 0),
    'children': (lambda: convs(Children()), ['stage.0'], None, 0),
    'layers': (convs, ['stage.1', 'last'], None, 0),
    'channels last': (lambda: Net('maps'), ['layers.1'], None, 0),
    'named tuple': (lambda: Net('maps', 0, Output), ['layers.1'], None, 0),
    'frames': (lambda: Net('frames'), ['layers.0',
                                       'layers.2.body'], (8, 8), 0),
    'class token': (lambda: Net('frames', 1), ['layers.1'], (8, 8), 1),
    'clips': (lambda: Net('clips'), ['layers.1'], [8, 8], 0),
    'two tokens': (lambda: Net('clips', 2, pair), ['layers.1'], (8, 8), 2),
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=CASES)
def case(request):
    """A network, the same with blocks, an input, and the places."""
    make, after, *tokens = CASES[request.param]
    plain = make()
    net = copy.deepcopy(plain)
    tokens = dict(zip(('grid', 'prefix_tokens'), tokens, strict=True))
    assert insert_selfy(net, after, T, **tokens, **SELFY) is net
    return plain, net, example(net), after


def awaken(net):
    """Give the blocks a scale other than the initial zero."""
    for module in net.modules():
        if isinstance(module, SELFYBlock):
            nn.init.ones_(module.residual_add.bn.weight)
    return net


def run(net, x):
    torch.manual_seed(1)  # of dropout
    return net(x)


def test_starts_as_the_network_was_and_ends_as_it(case):
    plain, net, x, after = case
    for name in after:  # no trace of the pass
        place, before = net.get_submodule(name), plain.get_submodule(name)
        assert vars(place).keys() == vars(before).keys()
        assert isinstance(place, type(before))
        assert isinstance(place.selfy, SELFYBlock)
    for mode in True, False:
        for grad in True, False:
            with torch.set_grad_enabled(grad):
                outs = [run(m.train(mode), x) for m in (plain, net)]
            assert torch.equal(*outs)
    missing, unexpected = net.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert {key.partition('.selfy.')[0] for key in missing} == {*after}
    assert not torch.equal(awaken(net)(x), plain(x))
    assert remove_selfy(net) is net
    assert repr(net) == repr(plain)
    assert [*map(type, net.modules())] == [*map(type, plain.modules())]
    assert torch.equal(net(x), plain(x))


def test_every_parameter_receives_a_gradient(case):
    _, net, x, _ = case
    awaken(net)(x).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_copies_are_whole_and_of_their_own(case):
    _, net, x, _ = case
    scores = awaken(net).eval()(x)
    for other in copy.deepcopy(net), pickle.loads(pickle.dumps(net)):
        assert torch.equal(other(x), scores)
        assert not torch.equal(remove_selfy(other)(x), scores)
    assert torch.equal(net(x), scores)


@pytest.mark.parametrize(
    'case', ['sequence', 'layers', 'two tokens'], indirect=True)
def test_compiles_and_exports(case):
    """Without a break of the graph, and for any number of clips."""
    torch.compiler.reset()
    _, net, x, _ = case
    scores = awaken(net).eval()(x)
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), scores)
    number = torch.export.Dim('number', min=1)
    number = number if x.dim() == 5 else T * number
    program = torch.export.export(net, (x, ), dynamic_shapes=({0: number}, ))
    x = torch.cat([x, x])
    torch.testing.assert_close(program.module()(x), net(x))


@pytest.mark.parametrize(('kind', 'prefix'), [('maps', 0), ('frames', 1),
                                              ('clips', 2)])
def test_outputs_become_maps_and_back(kind, prefix):
    net, outs = Net(kind, prefix).eval(), []
    plain = copy.deepcopy(net)
    grid = None if kind == 'maps' else (8, 8)
    insert_selfy(
        net, 'layers.1', T, grid=grid, prefix_tokens=prefix, type='Numbering')
    x = example(net)
    for model in plain, net:
        model.layers[1].register_forward_hook(
            lambda *args: outs.append(args[2].flatten(1, -2)))
        model(x)
    (before, after), seen = outs, net.layers[1].selfy.seen
    numbers = torch.arange(seen.numel()).view(seen.shape).float()
    assert seen.shape == (2 * T, C, 8, 8)
    assert torch.equal(after[:, :prefix], before[:, :prefix])
    for maps, tokens in (seen, before), (numbers, after):
        # frame by frame and row by row
        maps = maps.permute(0, 2, 3, 1).reshape(len(tokens), -1, C)
        assert torch.equal(maps, tokens[:, prefix:])


@pytest.mark.skipif(not HAS_MMACTION, reason='needs MMAction2')
@pytest.mark.parametrize('is_shift', [True, False])
def test_same_numbers_as_ResNetSELFY(is_shift):
    from selfy_mmaction import ResNetSELFY
    selfy = dict(SELFY, type='SELFYBlock')
    ours, net = (
        ResNetSELFY(18, T, is_shift, selfy, indices)
        for indices in ((1, ), ()))
    ours.init_weights(), net.init_weights()
    insert_selfy(net, 'layer2', T, **SELFY)
    weights = awaken(ours).state_dict()
    names = {
        key.replace('selfy.layer2', 'layer2.selfy'): key
        for key in weights
    }
    net.load_state_dict({name: weights[key] for name, key in names.items()})
    x, outs = torch.randn(2 * T, 3, 64, 64), []
    for model in ours, net:
        outs.append(model(x))
        outs[-1].square().sum().backward()
    assert torch.equal(*outs)
    theirs = dict(ours.named_parameters())
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter.grad, theirs[names[name]].grad), name


@pytest.mark.parametrize(('after', 'given', 'relu'), [
    ('stage', {}, True),
    ('stage.2', {}, True),
    ('stage.1', {}, False),
    ('stage', dict(relu=False), False),
])
def test_relu_if_the_output_comes_out_of_one(after, given, relu):
    """Of a frozen network in two modes; nothing of the pass is left."""
    net = convs().requires_grad_(False).double()
    net.stage[1].eval()
    before = copy.deepcopy(net.state_dict())
    insert_selfy(net, after, T, **given, **SELFY)
    block = net.get_submodule(after).selfy
    assert block.residual_add.relu == relu
    assert [m.training for m in (net, net.stage, net.stage[1], block)
            ] == [True, True, False, after != 'stage.1']
    for key, value in before.items():
        assert torch.equal(net.state_dict()[key], value)
    net(torch.randn(FRAMES).double()).sum().backward()
    assert {name
            for name, p in net.named_parameters() if p.grad is not None} == {
                f'{after}.selfy.{name}'
                for name, _ in block.named_parameters()
            }


@pytest.mark.parametrize('type', ['SELFYBlock', 'MOSSBlock'])
def test_checkpointing_and_autocast(type):
    options = dict(type=type, window=(3, 5, 5))
    plain, x = convs(), torch.randn(FRAMES)
    nets = [
        insert_selfy(
            copy.deepcopy(plain), 'stage', T, with_cp=with_cp, **options)
        for with_cp in (True, False)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    for net in nets:
        with torch.autocast('cpu', torch.bfloat16):
            outs = net.eval()(x), plain.eval()(x)
        assert torch.equal(*outs) and outs[0].dtype == torch.bfloat16
    outs = [net.train()(x) for net in nets]
    assert torch.equal(*outs)
    sum(outs).square().sum().backward()
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_the_channels_are_given_to_networks_that_take_no_zeros():
    net = nn.Sequential(nn.Linear(8, C), nn.GELU())
    plain, x = copy.deepcopy(net), torch.randn(2 * T, 6, 5, 8)
    insert_selfy(net, '0', T, in_channels=C, layout='NHWC', **SELFY)
    assert torch.equal(net(x), plain(x))
    assert not torch.equal(awaken(net)(x), plain(x))


@pytest.mark.parametrize(('make', 'given', 'message'), [
    (convs, dict(after='stagee'), "no submodule 'stagee'; the nearest are st"),
    (convs, dict(after='flatten'), r'flatten gives \[4, 8\], not maps.*grid='),
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
     r'what layers.1 gives \(.*\): give in_channels, and the grid'),
    (lambda: Net('frames'), dict(
        after='layers.1', grid=(8, 8), prefix_tokens=1),
     r'\[4, 64, 16\], .* 65 tokens of a frame, or 257 of a clip'),
    (lambda: Net('maps', 0, lambda x: dict(x=x)), dict(after='layers.0'),
     'layers.0 gives a dict: name a submodule'),
])
def test_mistakes_are_named(make, given, message):
    net = make()
    before = repr(net)
    with pytest.raises(ValueError, match=message) as error:
        insert_selfy(net, **dict(after='stage', num_segments=T) | given)
    assert '\n' not in str(error.value)
    assert repr(net) == before


def test_mistakes_with_a_block():
    net = insert_selfy(convs(), 'stage', T, **SELFY)
    with pytest.raises(ValueError, match='stage has a block: remove_selfy'):
        insert_selfy(net, ['stem', 'stage'], T, **SELFY)
    assert not hasattr(net.stem, 'selfy')
    with pytest.raises(ValueError, match='6 frames and num_segments=4'):
        net(torch.randn(FRAMES)[:6])
    net.last.forward = net.last.forward
    with pytest.raises(ValueError, match='forward of last was replaced'):
        insert_selfy(net, 'last', T)


# Not even the import of MMAction2 is tried.
WORKER = """
import sys
sys.modules['mmaction'] = None
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
torch.save(net, f'trained{distributed.get_rank()}.pth')
assert 'mmengine' not in sys.modules
"""


def test_a_saved_network_trains_in_two_processes(tmp_path):
    net = awaken(insert_selfy(convs(), ['stem', 'stage'], T, **SELFY))
    torch.save(net, tmp_path / 'net.pth')
    (tmp_path / 'worker.py').write_text(WORKER)
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    done = subprocess.run([*command, '--nproc-per-node=2', 'worker.py'],
                          cwd=tmp_path,
                          capture_output=True,
                          text=True,
                          env=os.environ | dict(PYTHONPATH=str(ROOT)))
    assert done.returncode == 0, done.stderr
    trained = torch.load(tmp_path / 'trained0.pth', weights_only=False)
    for (name, p), other in zip(
            net.named_parameters(), trained.parameters(), strict=True):
        assert not torch.equal(p, other), name
