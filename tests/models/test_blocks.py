"""What holds of every block, whatever it is made of."""
import pytest
import torch
from blocks import SELFY, assert_learns, awaken
from mmcv.cnn import fuse_conv_bn
from torch import nn

from selfy_mmaction.registry import MODELS

BLOCKS = {
    'convolutions': {},
    'mlp':
    dict(extraction=dict(type='STSSMLPExtraction', channels=(6, 5))),
    'soft-argmax':
    dict(extraction=dict(type='STSSSoftArgmaxExtraction')),
    'without context':
    dict(
        integration=dict(
            type='STSSConvIntegration', channels=(4, 6, 5), kernel_size=1)),
    'fusion alone':
    dict(integration=dict(type='STSSConvIntegration', channels=(5, ))),
    'two orders':
    dict(
        type='MOSSBlock',
        extraction=dict(type='STSSMLPExtraction', channels=(6, ), act='GELU')),
}
every_block = pytest.mark.parametrize('name', BLOCKS)
every_extraction = pytest.mark.parametrize('name', [*BLOCKS][:3])


def build(name='convolutions', **kwargs):
    """A block for clips of 3 frames and 8 channels."""
    torch.manual_seed(0)
    return MODELS.build(SELFY | dict(in_channels=8, num_segments=3)
                        | BLOCKS[name] | kwargs)


@every_block
@pytest.mark.parametrize('size', [(8, 8), (7, 11), (1, 2)])
@pytest.mark.parametrize('relu', [True, False])
def test_starts_as_the_identity(name, relu, size):
    block = build(name, relu=relu)
    x = torch.randn(6, 8, *size)
    x = x.relu() if relu else x
    for training in True, False:
        assert torch.equal(block.train(training)(x), x)


@every_block
@pytest.mark.parametrize('training', [True, False])
def test_learns(name, training):
    assert_learns(awaken(build(name)).train(training), torch.randn(6, 8, 9, 9))


@every_block
@pytest.mark.parametrize('frozen', [False, True])
def test_checkpointing_changes_nothing(name, frozen):
    """Nor where the input needs no gradient, as behind frozen stages."""
    x, results = torch.randn(6, 8, 7, 8), []
    for with_cp in False, True:
        block = awaken(build(name, with_cp=with_cp))
        leaf = x.clone().requires_grad_(not frozen)
        block(leaf).square().sum().backward()
        results.append([
            leaf.grad, *(p.grad for p in block.parameters()), *block.buffers()
        ])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize('name',
                         ['convolutions', 'mlp', 'soft-argmax', 'two orders'])
def test_compiles_and_exports(name):
    """Without a break of the graph, and for any number of clips."""
    plain, compiled = awaken(build(name)), awaken(build(name))
    # without its slow code generation
    graph = torch.compile(compiled, fullgraph=True, backend='aot_eager')
    x, results = torch.randn(6, 8, 7, 8), []
    for block, run in (plain, plain), (compiled, graph):
        leaf = x.clone().requires_grad_()
        out = run(leaf)
        out.square().mean().backward()
        results.append([out.detach(), leaf.grad, *block.buffers()])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    clips = torch.export.Dim('clips', min=2, max=8)
    with torch.no_grad():
        program = torch.export.export(
            plain.eval(), (x, ), dynamic_shapes=({
                0: 3 * clips
            }, ))
        x = torch.randn(12, 8, 7, 8)
        torch.testing.assert_close(program.module()(x), plain(x))


@every_block
def test_fused_norms_change_nothing(name):
    block, x = awaken(build(name)).double(), torch.randn(6, 8, 9, 9).double()
    with torch.no_grad():
        block.train()(x)  # statistics other than the initial ones
        expected = block.eval()(x)
        torch.testing.assert_close(fuse_conv_bn(block)(x), expected)


@pytest.mark.parametrize('name', ['convolutions', 'two orders'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('training', [True, False])
def test_autocast(device, name, training, dtype):
    plain, mixed = (
        awaken(build(name)).train(training).to(device) for _ in range(2))
    x = torch.randn(6, 8, 9, 9, device=device)
    with torch.autocast(device.type, dtype):
        out = mixed(x)
    expected = plain(x)
    error = (out.float() - expected).abs().mean()
    assert error < 0.02 * expected.abs().mean()
    (out.float() * torch.randn_like(expected)).mean().backward()
    for name, parameter in mixed.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    for name, buffer in plain.named_buffers():
        assert mixed.get_buffer(name).dtype == buffer.dtype
        torch.testing.assert_close(
            mixed.get_buffer(name), buffer, rtol=0.05, atol=0.05)


@every_extraction
@pytest.mark.parametrize('window, options', [
    ((1, 3, 3), dict(similarity='dot')),
    ((3, 1, 1), dict(temporal_padding='replicate')),
    ((5, 15, 15), dict(similarity='softmax')),
    ((9, 5, 9), dict()),
])
def test_any_window(name, window, options):
    block = awaken(build(name, window=window, **options))
    out = block(torch.randn(6, 8, 5, 6).relu())
    out.square().sum().backward()
    assert torch.isfinite(out).all()
    grad = block.transformation.downsample.conv.weight.grad
    assert torch.isfinite(grad).all() and grad.any()


@every_extraction
def test_what_stands_beyond_the_clip(name):
    """A static clip has equal similarities in each frame if replicated."""
    still = torch.randn(1, 8, 6, 7).repeat(4, 1, 1, 1)
    out = awaken(build(name, num_segments=4)).eval()(still)
    torch.testing.assert_close(out[1], out[2])
    assert not torch.allclose(out[0], out[1])
    assert not torch.allclose(out[3], out[2])
    repeated = build(name, num_segments=4, temporal_padding='replicate')
    out = awaken(repeated).eval()(still)
    torch.testing.assert_close(out, out[:1].expand_as(out))


@pytest.mark.parametrize('offsets', [(0, ), (1, ), (0, 1), (-1, 0, 1),
                                     (-2, 3)])
def test_a_frame_sees_those_at_its_offsets(offsets):
    block = awaken(
        build(num_segments=6, window=(len(offsets), 5, 5),
              offsets=offsets)).eval()
    for t in 0, 3, 5:
        x = torch.randn(6, 8, 6, 7).requires_grad_()
        block(x)[t].square().sum().backward()
        seen = {s for s in range(6) if x.grad[s].any()}
        assert seen == {t, *(t + offset for offset in offsets)} & {*range(6)}


@pytest.mark.parametrize('size', [(8, 8), (7, 11), (5, 4)])
@pytest.mark.parametrize('momentum', [0.1, None])
def test_zero_stuffed_norm_equals_a_norm_of_the_stuffed_map(size, momentum):
    add = build(relu=False).double().residual_add
    nn.init.uniform_(add.bn.weight, 0.5, 1.5)
    nn.init.normal_(add.bn.bias)
    add.bn.momentum = momentum
    stuffed_norm = nn.BatchNorm2d(8, momentum=momentum).double()
    stuffed_norm.load_state_dict(add.bn.state_dict())
    for training in True, True, False:
        add.train(training), stuffed_norm.train(training)
        x = torch.randn(6, 8, *size).double()
        zeros = torch.zeros_like(x)
        motion = torch.randn(6, 4, *zeros[0, 0, ::2, ::2].shape).double()
        zeros[:, :, ::2, ::2] = add.conv(motion)
        torch.testing.assert_close(add(x, motion), x + stuffed_norm(zeros))
    torch.testing.assert_close(
        dict(add.bn.named_buffers()), dict(stuffed_norm.named_buffers()))


def test_bad_arguments_are_named():
    for name in 'convolutions', 'two orders':
        with pytest.raises(ValueError, match='6 frames and num_segments=4'):
            build(name, num_segments=4)(torch.randn(6, 8, 4, 4))
        for window in (5, 8, 9), (5, 9), 9, (0, 9, 9):
            with pytest.raises(ValueError, match='window must be three odd'):
                build(name, window=window)
    with pytest.raises(ValueError, match='orders of MOSSBlock must be a posi'):
        build('two orders', orders=0)
