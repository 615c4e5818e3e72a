"""The operator on a GPU: the kernels themselves, graphs and compilers."""
import pytest
import torch
from measure import has_triton
from torch.nn.functional import normalize

from selfy_mmaction.ops import stss, stss_op, stss_torch

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a GPU')
needs_triton = pytest.mark.skipif(
    not has_triton(torch.device('cuda')), reason='needs Triton')
# Relative to the largest value, since sums lose more than their terms.
TYPES = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
TUNINGS = [
    dict(tile=tile, warps=warps)
    for tile, warps in ((16, 1), (16, 2), (16, 4), (16, 8), (32, 4))
]
OFFSETS = (-2, -1, 0, 1, 2)


def features(*shape, dtype=torch.float32, device='cuda'):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(device, dtype)


@pytest.fixture(params=['torch', pytest.param('triton', marks=needs_triton)])
def choice(request, monkeypatch):
    """PyTorch's operators, and the kernels that are asked for."""
    monkeypatch.setenv('SELFY_STSS', request.param)


@needs_triton
@pytest.mark.parametrize('dtype', TYPES)
def test_the_kernels_are_used_where_they_are_asked_for(dtype, monkeypatch):
    q = features(1, 2, 5, 6, 8, dtype=dtype)
    assert stss_op._implementation(q, 3) is stss_torch
    monkeypatch.setenv('SELFY_STSS', 'triton')
    assert stss_op._implementation(q, 3).__name__.endswith('stss_triton')
    assert stss_op._implementation(q, 201) is stss_torch


@needs_triton
@pytest.mark.parametrize('tuning', TUNINGS)
@pytest.mark.parametrize('replicate', [False, True])
@pytest.mark.parametrize('dtype', TYPES)
@pytest.mark.parametrize('shape', [(2, 3, 9, 35, 70), (1, 8, 14, 14, 128)])
def test_the_kernels_are_right(shape, dtype, replicate, tuning):
    from selfy_mmaction.ops import stss_triton
    q = normalize(features(*shape), dim=-1).to(dtype)
    grad = features(*shape[:2], 5, *shape[2:4], 9, 9, dtype=dtype)
    args = OFFSETS, 9, 9, replicate
    wide, wide_grad = q.double(), grad.double()
    for ours, exact in (
        (stss_triton.products(q, *args,
                              **tuning), stss_torch.products(wide, *args)),
        (stss_triton.products_backward(grad, q, *args, **tuning),
         stss_torch.products_backward(wide_grad, wide, *args)),
    ):
        torch.testing.assert_close(
            ours.double(),
            exact,
            rtol=0,
            atol=TYPES[dtype] * exact.abs().max().item())


@needs_triton
def test_positions_beyond_32_bits():
    """The last of so many clips is computed as if it were alone."""
    from selfy_mmaction.ops import stss_triton
    if torch.cuda.mem_get_info()[0] < 16 << 30:
        pytest.skip('needs 16 GB')
    q = features(1, 8, 104, 104, 16, dtype=torch.bfloat16)
    grad = features(1, 8, 5, 104, 104, 9, 9, dtype=torch.bfloat16)
    many, many_grad = (x.expand(62, *x.shape[1:]) for x in (q, grad))
    args = OFFSETS, 9, 9, False
    assert torch.equal(
        stss_triton.products(many, *args)[-1:], stss_triton.products(q, *args))
    assert torch.equal(
        stss_triton.products_backward(many_grad, many, *args)[-1:],
        stss_triton.products_backward(grad, q, *args))


@pytest.mark.usefixtures('choice')
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_graph_outlives_other_sizes(dtype):
    x = features(1, 4, 8, 9, 20, dtype=dtype)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        stss(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = stss(x)
    for size in range(3, 15):
        stss(features(1, 2, 3, size, size, dtype=dtype))
    x.copy_(features(1, 4, 8, 9, 20, dtype=dtype) + 1)
    graph.replay()
    torch.testing.assert_close(out, stss(x))


def test_a_capture_without_warm_up_is_one_line():
    x = features(1, 2, 3, 17, 23, dtype=torch.float64)
    with pytest.raises(RuntimeError, match='17 x 23 yet: run it once'):
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            stss(x)


@pytest.mark.usefixtures('choice')
@pytest.mark.parametrize('mode', ['default', 'reduce-overhead'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_compiled(mode, dtype):
    compiled = torch.compile(lambda x: stss(x, (3, 3, 3)).square(), mode=mode)
    for i in range(4):
        x = features(1, 3, 4, 7, 18 + dtype.itemsize, dtype=dtype) + i
        x.requires_grad_()
        out, expected = compiled(x), stss(x, (3, 3, 3)).square()
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(
            torch.autograd.grad(out.sum(), x),
            torch.autograd.grad(expected.sum(), x))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs a second GPU')
def test_on_another_device_than_the_current_one():
    x = features(1, 3, 8, 9, 10, device='cuda:1')
    torch.testing.assert_close(stss(x), stss(x.to('cuda:0')).to('cuda:1'))
