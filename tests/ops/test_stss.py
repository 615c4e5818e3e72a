"""STSS against a plain loop over its definition."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfy_mmaction.ops import stss
from selfy_mmaction.ops.reference import stss_einsum, stss_loop

ODD = st.sampled_from([1, 3, 5, 7])


def features(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


@settings(max_examples=30, deadline=None)
@given(
    N=st.integers(1, 2),
    T=st.integers(1, 4),
    C=st.integers(1, 5),
    H=st.integers(1, 5),
    W=st.integers(1, 6),
    L=ODD,
    U=ODD,
    V=ODD,
    similarity=st.sampled_from(['cosine', 'dot']),
    temporal_padding=st.sampled_from(['zeros', 'replicate']))
def test_equals_the_definition(device, N, T, C, H, W, L, U, V, similarity,
                               temporal_padding):
    x = features(N, T, C, H, W).to(device)
    args = ((L, U, V), similarity, temporal_padding)
    actual = stss(x, *args)
    assert actual.shape == (N, T, H, W, L, U, V)
    torch.testing.assert_close(
        actual, stss_loop(x, *args), rtol=1e-9, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(
    T=st.integers(1, 4),
    H=st.integers(1, 5),
    W=st.integers(1, 6),
    L=ODD,
    U=ODD,
    V=ODD,
    similarity=st.sampled_from(['cosine', 'dot']),
    temporal_padding=st.sampled_from(['zeros', 'replicate']))
def test_the_copies_equal_the_definition(T, H, W, L, U, V, similarity,
                                         temporal_padding):
    x = features(2, T, 3, H, W)
    args = ((L, U, V), similarity, temporal_padding)
    torch.testing.assert_close(
        stss_einsum(x, *args), stss_loop(x, *args, eps=0.0))


@pytest.mark.parametrize('L', range(1, 10, 2))
def test_every_window_gives_the_numbers_of_the_copies(L):
    """Up to 9 x 15 x 15; they normalise by the length, without epsilon."""
    x = features(1, 4, 3, 5, 6)
    for U in range(1, 16, 2):
        for similarity in 'cosine', 'dot':
            for temporal_padding in 'zeros', 'replicate':
                args = (L, U, U), similarity, temporal_padding
                torch.testing.assert_close(
                    stss(x, *args, eps=0.0), stss_einsum(x, *args))


@settings(max_examples=20, deadline=None)
@given(
    T=st.integers(1, 4),
    offsets=st.lists(st.integers(-4, 4), min_size=1, max_size=4, unique=True),
    temporal_padding=st.sampled_from(['zeros', 'replicate']))
def test_any_temporal_offsets(T, offsets, temporal_padding):
    x = features(2, T, 3, 4, 3).requires_grad_()
    window = (len(offsets), 3, 5)
    ours = stss(x, window, temporal_padding=temporal_padding, offsets=offsets)
    loop = stss_loop(
        x, window, temporal_padding=temporal_padding, offsets=offsets)
    torch.testing.assert_close(ours, loop, rtol=1e-9, atol=1e-10)
    cotangent = features(*ours.shape, seed=1)
    torch.testing.assert_close(
        torch.autograd.grad(ours, x, cotangent),
        torch.autograd.grad(loop + 0 * x.sum(), x, cotangent),
        rtol=1e-8,
        atol=1e-9)


@pytest.mark.parametrize(
    'shape, window',
    [
        ((1, 2, 3, 19, 4), (3, 5, 3)),  # a side that is cut into tiles
        ((1, 1, 2, 18, 17), (1, 3, 5)),  # both sides, with uneven last tiles
        ((1, 2, 2, 17, 3), (5, 19, 7)),  # a window larger than a tile
    ])
def test_large_maps_equal_the_definition(shape, window):
    x = features(*shape)
    torch.testing.assert_close(
        stss(x, window), stss_loop(x, window), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize('temporal_padding', ['zeros', 'replicate'])
@pytest.mark.parametrize('shape, window', [
    ((2, 3, 16, 3, 4), (5, 3, 5)),
    ((1, 2, 8, 17, 3), (3, 5, 3)),
])
def test_float32_forward_and_gradients(shape, window, temporal_padding):
    x = features(*shape, dtype=torch.float32).requires_grad_()
    ours = stss(x, window, temporal_padding=temporal_padding)
    loop = stss_loop(x, window, temporal_padding=temporal_padding)
    torch.testing.assert_close(ours, loop, rtol=1e-5, atol=1e-6)
    cotangent = features(*ours.shape, dtype=torch.float32, seed=1)
    torch.testing.assert_close(
        torch.autograd.grad(ours, x, cotangent),
        torch.autograd.grad(loop, x, cotangent),
        rtol=1e-5,
        atol=1e-6)


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


def test_zero_features_are_similar_to_nothing():
    x = torch.zeros(1, 2, 3, 4, 4, requires_grad=True)
    out = stss(x, (3, 3, 3))
    assert torch.equal(out, torch.zeros_like(out))
    out.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_a_shifted_pattern_peaks_at_its_displacement():
    """The centre of a dot that moves two right and one down per frame."""
    x = torch.zeros(1, 3, 1, 9, 12)
    for t in range(3):
        x[0, t, 0, 2 + t, 3 + 2 * t] = 1
    similarity = stss(x, (5, 9, 9))[0, 1, 3, 5]
    for l in (1, 2, 3):
        peak = similarity[l].argmax().item()
        assert divmod(peak, 9) == (4 + (l - 2), 4 + 2 * (l - 2))


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
