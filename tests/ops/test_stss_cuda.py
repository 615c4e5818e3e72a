"""The operator on a GPU: the kernels themselves, graphs and compilers."""
import kernels
import pytest
import torch

from selfy_mmaction.ops import stss, stss_op, stss_torch

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a GPU')
needs_triton = pytest.mark.skipif(
    not kernels.can_run(torch.device('cuda')), reason='needs Triton')
TYPES = torch.float32, torch.float16, torch.bfloat16


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
def test_the_kernels_are_right():
    from selfy_mmaction.ops import stss_triton
    kernels.check_kernels(torch.device('cuda'), stss_triton)


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
        x = (features(1, 3, 4, 7, 18 + dtype.itemsize, dtype=dtype) +
             i).requires_grad_()
        out = compiled(x)
        expected = stss(x, (3, 3, 3)).square()
        torch.testing.assert_close(out, expected)
        gradient, = torch.autograd.grad(out.sum(), x)
        torch.testing.assert_close(gradient,
                                   torch.autograd.grad(expected.sum(), x)[0])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs a second GPU')
def test_on_another_device_than_the_current_one():
    x = features(1, 3, 8, 9, 10, device='cuda:1')
    torch.testing.assert_close(stss(x), stss(x.to('cuda:0')).to('cuda:1'))
