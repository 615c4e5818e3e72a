"""STSS against a plain loop over its definition."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfy_mmaction.ops import stss
from selfy_mmaction.ops.reference import stss_einsum, stss_loop

ODD = st.sampled_from([1, 3, 5])
PADDINGS = ['zeros', 'replicate']


def features(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def assert_defined(x, *args, **kwargs):
    """Forward and gradient are those of the loop."""
    ours, loop = (
        function(x.requires_grad_(), *args, **kwargs)
        for function in (stss, stss_loop))
    assert ours.shape == loop.shape
    torch.testing.assert_close(ours, loop, rtol=1e-9, atol=1e-10)
    cotangent = features(*ours.shape, seed=1).to(x.device)
    torch.testing.assert_close(
        torch.autograd.grad(ours, x, cotangent),
        torch.autograd.grad(loop + 0 * x.sum(), x, cotangent),
        rtol=1e-8,
        atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    N=st.integers(1, 2),
    T=st.integers(1, 3),
    C=st.integers(1, 5),
    H=st.integers(1, 4),
    W=st.integers(1, 6),
    L=ODD,
    U=ODD,
    V=ODD,
    similarity=st.sampled_from(['cosine', 'dot']),
    temporal_padding=st.sampled_from(PADDINGS),
    offsets=st.none()
    | st.lists(st.integers(-4, 4), min_size=1, max_size=4, unique=True))
def test_equals_the_definition(device, N, T, C, H, W, L, U, V, similarity,
                               temporal_padding, offsets):
    window = (len(offsets) if offsets else L, U, V)
    x = features(N, T, C, H, W).to(device)
    assert_defined(x, window, similarity, temporal_padding, offsets=offsets)


@pytest.mark.parametrize(
    'shape, window',
    [
        ((1, 2, 3, 19, 4), (3, 5, 3)),  # a side that is cut into tiles
        ((1, 1, 2, 18, 17), (1, 3, 5)),  # both sides, with uneven last tiles
        ((1, 1, 2, 17, 3), (1, 19, 7)),  # a window larger than a tile
    ])
def test_large_maps_equal_the_definition(shape, window):
    assert_defined(features(*shape), window)


@pytest.mark.parametrize('L', range(1, 10, 2))
def test_every_window_gives_the_numbers_of_the_copies(L):
    """Up to 9 x 15 x 15; they normalise by the length, without epsilon."""
    x = features(1, 4, 3, 5, 6)
    for U in range(1, 16, 2):
        for similarity in 'cosine', 'dot':
            for temporal_padding in PADDINGS:
                args = (L, U, U), similarity, temporal_padding
                torch.testing.assert_close(
                    stss(x, *args, eps=0.0), stss_einsum(x, *args))


@pytest.mark.parametrize(
    'shape, window, similarity',
    [
        ((1, 3, 2, 2, 3), (3, 3, 5), 'cosine'),
        ((1, 3, 2, 3, 2), (5, 1, 1), 'dot'),
        ((1, 2, 2, 3, 3), (1, 5, 3), 'softmax'),
        ((1, 1, 1, 17, 1), (1, 3, 3), 'dot'),  # tiles
    ])
def test_gradcheck(shape, window, similarity):
    x = features(*shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: stss(x, window, similarity), x)


def test_any_memory_layout():
    x = features(2, 3, 4, 5, 6)
    expected = stss(x, (3, 3, 5))
    for order in [(0, 1, 3, 4, 2), (4, 3, 2, 1, 0)]:
        inverse = [order.index(i) for i in range(5)]
        other = x.permute(order).contiguous().permute(inverse)
        assert not other.is_contiguous()
        torch.testing.assert_close(stss(other, (3, 3, 5)), expected)
    torch.testing.assert_close(
        stss(x[:, ::2, :, 1:], (3, 3, 5)),
        stss(x[:, ::2, :, 1:].contiguous(), (3, 3, 5)))


@pytest.mark.parametrize('kwargs, named', [
    (dict(window=(5, 8, 9)), '(5, 8, 9)'),
    (dict(window=(5, 9, -1)), '(5, 9, -1)'),
    (dict(window=9), '(9,)'),
    (dict(window=(2, 8, 9), offsets=(0, 1)), '(2, 8, 9)'),
    (dict(window=(3, 9, 9), offsets=(0, 1)), '(0, 1)'),
    (dict(window=(2, 9, 9), offsets=(1, 1)), '(1, 1)'),
    (dict(window=(1, 9, 9), offsets=(0.5, )), '(0.5,)'),
    (dict(similarity='euclid'), "'euclid'"),
    (dict(temporal_padding='reflect'), "'reflect'"),
    (dict(layout='NCTHW'), "'NCTHW'"),
    (dict(scale=-1.), 'scale must be positive'),
    (dict(eps=-1e-6), 'eps must not be negative'),
    (dict(x=torch.zeros(2, 3, 4, 4)), '[N, T, C, H, W]'),
    (dict(x=torch.zeros(1, 2, 3, 4, 4, dtype=torch.int64)), 'int64'),
])
def test_bad_arguments_are_named(kwargs, named):
    with pytest.raises(ValueError) as error:
        stss(**dict(dict(x=features(1, 2, 3, 4, 4)), **kwargs))
    assert named in str(error.value)
    assert '\n' not in str(error.value)


def test_memory_of_a_large_map_stays_bounded():
    """56 x 56 at window 9: far below one H*W x H*W volume per frame."""
    from measure import peak_bytes
    x = torch.randn(1, 8, 16, 56, 56)
    out = stss(x)
    peak = peak_bytes(lambda: stss(x), torch.device('cpu'))
    # One volume of 3136 x 3136 floats for each of 8 frames is 315 MB.
    assert peak - out.nbytes < 60e6
