"""Soft-argmax against a plain loop over its definition."""
import pytest
import torch

from selfy_mmaction.ops import soft_argmax, stss, within_map


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def soft_argmax_loop(similarities, inside, temperature):
    """Means over the offsets that exist, [U, V] each."""
    U, V = similarities.shape
    weights = [(u, v, torch.exp(similarities[u, v] / temperature))
               for u in range(U) for v in range(V) if inside[u, v]]
    total = sum(weight for *_, weight in weights)
    return torch.stack([
        sum(weight * (u - U // 2) for u, _, weight in weights) / total,
        sum(weight * (v - V // 2) for _, v, weight in weights) / total
    ])


@pytest.mark.parametrize('sparse', [False, True])
@pytest.mark.parametrize('temperature', [0.01, 0.5])
def test_is_the_mean_over_the_offsets_that_exist(temperature, sparse):
    """Features after a ReLU have similarities of 0 on the map, too."""
    H, W, (L, U, V) = 3, 4, (3, 5, 7)
    x = torch.randn(1, 3, 2, H, W).double()
    if sparse:  # rows with nothing in common
        x[:, :, 0, ::2] = x[:, :, 1, 1::2] = 0
    x = stss(x.abs() if sparse else x, (L, U, V))
    displacement, confidence = soft_argmax(x, temperature)
    assert displacement.shape == (1, 3, H, W, L, 2)
    assert torch.equal(confidence, x.amax((-2, -1)))
    for h in range(H):
        for w in range(W):
            u, v = torch.arange(U) + h - U // 2, torch.arange(V) + w - V // 2
            inside = (((u >= 0) & (u < H))[:, None] & ((v >= 0) & (v < W)))
            assert torch.equal(within_map(H, W, U, V)[h, w], inside)
            maps = x[0, 1, h, w, 0]
            assert not sparse or (maps[inside] == 0).any()
            expected = soft_argmax_loop(maps, inside, temperature)
            torch.testing.assert_close(displacement[0, 1, h, w, 0], expected)
            alone, _ = soft_argmax(maps, temperature, inside)
            torch.testing.assert_close(alone, expected)
    # Beyond the clip nothing moves, and with no confidence.
    assert not displacement[0, 0, :, :, 0].any()
    assert not confidence[0, 0, :, :, 0].any()


def test_confidence_is_of_what_exists():
    """Also where it is negative, and less than the 0 beyond the map."""
    maps = torch.tensor([[0., -.5, -.2]])
    mask = torch.tensor([[False, True, True]])
    displacement, confidence = soft_argmax(maps, mask=mask)
    torch.testing.assert_close(displacement, torch.tensor([0., 1.]))
    assert confidence == torch.tensor(-.2)
    assert not any(x.any() for x in soft_argmax(maps, mask=mask & False))


def test_finds_a_shift_at_every_position_that_stays():
    """Also at the borders, where a part of the window does not exist."""
    frame = torch.randn(32, 12, 14)
    clip = torch.stack([frame, frame.roll((2, -3), (1, 2))])
    displacement, confidence = soft_argmax(stss(clip[None], (3, 9, 9)))
    stays = displacement[0, 0, :10, 3:, 2]
    torch.testing.assert_close(
        stays, torch.tensor([2., -3.]).expand_as(stays), atol=1e-2, rtol=0)
    torch.testing.assert_close(
        confidence[0, 0, :10, 3:, 2], torch.ones(10, 11), atol=1e-4, rtol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    similarities = torch.rand(4, 5, 7).to(dtype)
    displacement, confidence = soft_argmax(similarities)
    assert displacement.dtype == confidence.dtype == dtype
    expected, _ = soft_argmax(similarities.float())
    torch.testing.assert_close(
        displacement.float(), expected, atol=0.02, rtol=0.01)
    with torch.autocast('cpu', dtype):
        mixed, _ = soft_argmax(similarities.float())
    torch.testing.assert_close(mixed, expected)


def test_has_the_gradient_of_its_definition():
    x = torch.rand(2, 3, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_argmax(x, 0.3), x)


@pytest.mark.parametrize('shape', [(0, 3, 5), (4, 1, 1)])
def test_no_maps_and_maps_of_one_offset(shape):
    displacement, confidence = soft_argmax(torch.ones(shape))
    assert torch.equal(displacement, torch.zeros(shape[0], 2))
    assert torch.equal(confidence, torch.ones(shape[0]))


@pytest.mark.parametrize('temperature', [0, float('nan')])
def test_a_bad_temperature_is_named(temperature):
    with pytest.raises(ValueError, match=f'temperature .* got {temperature}'):
        soft_argmax(torch.rand(3, 3), temperature)
