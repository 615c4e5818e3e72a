"""stss under compilers and tracers, and for callers of other code bases."""
import pytest
import torch
from torch.autograd import forward_ad
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

from selfy_mmaction.ops import stss, stss_op, stss_tiles, stss_torch

OFFSETS = (-2, -1, 0, 1, 2)
# Operators that only change the view of their input.
VIEWS = {
    '_unsafe_view', 'alias', 'detach', 'expand', 'flatten', 'movedim',
    'permute', 'select', 'slice', 'split', 'transpose', 'unflatten', 'unfold',
    'unsqueeze', 'view'
}


class Kernels(TorchDispatchMode):
    """Names of the operators that compute something."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split('::')[1]
        if name not in VIEWS:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def features(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize('size, padding', [(14, 'replicate'), (32, 'zeros'),
                                           (32, 'replicate')])
def test_few_kernels(size, padding):
    """On devices where starting one costs: those that are not a CPU."""
    x = torch.empty(1, 8, 128, size, size, device='meta', requires_grad=True)
    with Kernels() as around:
        out = stss(x, temporal_padding=padding)
    with Kernels() as around_backward:
        out.backward(out.detach())
    q, args = x.detach().movedim(2, 4), (OFFSETS, 9, 9, padding == 'replicate')
    stss_torch.products(q, *args)  # builds the bands
    with Kernels() as inner:
        out = stss_torch.products(q, *args)
    with Kernels() as inner_backward:
        stss_torch.products_backward(out, q, *args)
    assert len(around.names + inner.names) <= 40
    assert len(around_backward.names + inner_backward.names) <= 60


@pytest.mark.parametrize('shape, window, offsets', [
    ((2, 3, 4, 5, 6), (3, 5), (-1, 0, 1)),
    ((1, 2, 3, 19, 18), (5, 3), (-2, 1)),
    ((3, 2, 2, 9, 35), (3, 9), (1, )),
])
@pytest.mark.parametrize('replicate', [False, True])
def test_one_batch_equals_spans(monkeypatch, shape, window, offsets,
                                replicate):
    """The tiling for GPUs gives the same as that for CPUs."""
    q = features(*shape).movedim(2, 4)
    args = (offsets, *window, replicate)
    expected = stss_torch.products(q, *args)
    grad = torch.randn_like(expected)
    expected_grad = stss_torch.products_backward(grad, q, *args)
    monkeypatch.setattr(
        stss_tiles, 'plan',
        lambda H, W, U, V, device: stss_tiles.build(H, W, U, V, True))
    torch.testing.assert_close(stss_torch.products(q, *args), expected)
    torch.testing.assert_close(
        stss_torch.products_backward(grad, q, *args), expected_grad)


@pytest.mark.parametrize('dtype, tolerance', [(torch.float32, 1e-5),
                                              (torch.float16, 1e-2),
                                              (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize('shape, temporal_padding', [
    ((2, 4, 20, 5, 7), 'replicate'),
    ((1, 3, 70, 18, 35), 'zeros'),
])
def test_every_type_on_the_device(device, dtype, tolerance, shape,
                                  temporal_padding):
    x = features(*shape).div(shape[2]**0.5).to(device, dtype)
    wide = x.cpu().double().requires_grad_()
    x.requires_grad_()
    args = (3, 3, 5), 'dot', temporal_padding
    actual, expected = stss(x, *args), stss(wide, *args)
    assert actual.device == x.device and actual.dtype == dtype
    cotangent = torch.ones_like(expected)
    actual_grad, = torch.autograd.grad(actual, x, cotangent.to(device, dtype))
    expected_grad, = torch.autograd.grad(expected, wide, cotangent)
    for ours, exact in (actual, expected), (actual_grad, expected_grad):
        torch.testing.assert_close(
            ours.detach().cpu().double(),
            exact.detach(),
            rtol=tolerance,
            atol=tolerance * exact.abs().max().item())


@pytest.mark.parametrize('dtype, replicate', [(torch.float64, False),
                                              (torch.bfloat16, True)])
def test_operator_keeps_the_rules(device, dtype, replicate):
    q = features(2, 3, 5, 18, 3, dtype=dtype).to(device).requires_grad_()
    args = ([-1, 0, 2], 3, 5, replicate)
    opcheck(stss_op.local_products, (q, *args))
    grad = torch.ones(2, 3, 3, 5, 18, 3, 5, dtype=dtype, device=device)
    opcheck(stss_op.local_products_backward, (grad, q.detach(), *args))


def test_one_node_of_any_size_when_compiled():
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    def similarities(x):
        return stss(x, (3, 3, 5), 'softmax')

    compiled = torch.compile(
        similarities, fullgraph=True, dynamic=True, backend=backend)
    for shape in (2, 3, 4, 5, 18), (3, 3, 4, 7, 6):
        x = features(*shape)
        torch.testing.assert_close(compiled(x), similarities(x))
    graph, = graphs
    assert graph.code.count('selfy.local_products') == 1


class STSS(torch.nn.Module):

    def __init__(self, kwargs):
        super().__init__()
        self.kwargs = kwargs

    def forward(self, x):
        return stss(x, **self.kwargs)


@pytest.mark.parametrize('kwargs', [
    dict(window=(3, 3, 5)),
    dict(window=(3, 5, 3), temporal_padding='replicate'),
    dict(window=(2, 3, 3), offsets=(-2, 1), similarity='softmax'),
    dict(window=(1, 1, 1), offsets=(4, )),
])
def test_one_node_when_exported_and_plain_operators_when_traced(kwargs):
    x, other = features(2, 3, 4, 5, 6), features(1, 3, 4, 8, 20)
    sizes = {i: torch.export.Dim(f'd{i}') for i in (0, 3, 4)}
    program = torch.export.export(
        STSS(kwargs), (x, ), dynamic_shapes=(sizes, ))
    names = [str(node.target) for node in program.graph.nodes]
    assert names.count('selfy.local_products.default') == 1
    torch.testing.assert_close(
        program.module()(other), stss(other, **kwargs), rtol=1e-9, atol=1e-10)
    for clip in x, other:
        traced = torch.jit.trace(STSS(kwargs), clip)
        assert 'selfy::' not in str(traced.graph)
        torch.testing.assert_close(traced(clip + 1), stss(clip + 1, **kwargs))


@pytest.mark.parametrize('dtype, similarity', [(torch.float32, 'softmax'),
                                               (torch.bfloat16, 'softmax'),
                                               (torch.bfloat16, 'cosine')])
def test_autocast_keeps_the_type(device, dtype, similarity):
    x = features(1, 3, 8, 5, 6).to(device, dtype).requires_grad_()
    args = x, (3, 3, 3), similarity
    with torch.autocast(device.type, torch.bfloat16):
        out = stss(*args)
        out.sum().backward()
        in_a_graph = torch.vmap(lambda x: stss(x, *args[1:]))(x[None])[0]
    torch.testing.assert_close(out, stss(*args), rtol=0, atol=0)
    assert in_a_graph.dtype == dtype
    torch.testing.assert_close(in_a_graph, out)
    assert x.grad.isfinite().all()


def test_inference_mode_leaves_nothing_for_training():
    stss_tiles._recent.cache_clear()
    x = features(1, 2, 3, 6, 20)
    with torch.inference_mode():
        stss(x, (3, 3, 3))
    x.requires_grad_()
    stss(x, (3, 3, 3)).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('temporal_padding', ['zeros', 'replicate'])
def test_torch_func(temporal_padding):
    """Derivatives of any order, forward and reverse, of many clips."""

    def loss(x):
        return stss(
            x, (3, 3, 3), temporal_padding=temporal_padding).exp()[..., 0,
                                                                   1].sum()

    x, v = features(2, 2, 2, 3, 4, 5)
    x.requires_grad_()
    expected, = torch.autograd.grad(loss(x), x)
    x = x.detach()
    grad = torch.func.grad(loss)
    torch.testing.assert_close(grad(x), expected)
    torch.testing.assert_close(
        torch.func.vmap(grad, 1, 1)(torch.stack([v, x], 1))[:, 1], expected)
    # Both are derivatives along v.
    _, tangent = torch.func.jvp(loss, (x, ), (v, ))
    torch.testing.assert_close(tangent, (expected * v).sum())
    with forward_ad.dual_level():
        dual = loss(forward_ad.make_dual(x, v))
        torch.testing.assert_close(
            forward_ad.unpack_dual(dual).tangent, tangent)
    _, actual = torch.func.jvp(grad, (x, ), (v, ))
    step = 1e-5
    torch.testing.assert_close(
        actual, (grad(x + step * v) - grad(x - step * v)) / (2 * step),
        rtol=1e-5,
        atol=1e-6)


def test_no_second_derivative_without_torch_func():
    """Rather than a wrong one."""
    x = features(1, 2, 3, 4, 5).requires_grad_()
    grad, = torch.autograd.grad(
        stss(x, (3, 3, 3)).square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match='torch.func has one'):
        grad.sum().backward()


def test_an_unknown_choice_is_refused(monkeypatch):
    monkeypatch.setenv('SELFY_STSS', 'Torch')
    with pytest.raises(ValueError, match='SELFY_STSS=Torch is unknown'):
        stss(features(1, 1, 2, 3, 3))


def test_nothing_finite_is_needed_beyond_the_map():
    """There the similarity is 0, whatever the nearest position holds."""
    x = torch.full((1, 1, 64, 3, 3), 100.).half()  # products overflow
    for similarities in stss(
            x, (1, 3, 3),
            'dot'), torch.vmap(lambda x: stss(x, (1, 3, 3), 'dot'))(
                x[None])[0]:
        assert not similarities[0, 0, 0, :, 0, 0].any()
        assert similarities[0, 0, 1, 1].isinf().all()


@pytest.mark.parametrize('padding', ['zeros', 'replicate'])
def test_a_bad_clip_harms_no_other(padding):
    x = features(3, 5, 4, 6, 6)
    x[1] = torch.nan
    x.requires_grad_()
    out = stss(x, (5, 3, 3), temporal_padding=padding)
    assert out[[0, 2]].isfinite().all()
    grad, = torch.autograd.grad(out[[0, 2]].sum(), x)
    assert grad[[0, 2]].isfinite().all()


@pytest.mark.parametrize('similarity', ['cosine', 'softmax'])
@pytest.mark.parametrize('shape, device', [
    ((0, 2, 3, 4, 4), 'cpu'),
    ((1, 0, 3, 4, 4), 'cpu'),
    ((1, 2, 0, 4, 4), 'cpu'),
    ((1, 2, 3, 0, 4), 'cpu'),
    ((1, 2, 3, 4, 4), 'meta'),
])
def test_nothing_to_compute(shape, device, similarity):
    x = torch.zeros(shape, device=device, requires_grad=True)
    out = stss(x, (3, 5, 7), similarity)
    assert out.shape == (*shape[:2], *shape[3:], 3, 5, 7)
    out.sum().backward()
    assert x.grad.shape == x.shape
