"""Our operator against the formulas of the code bases that have a copy.

Written from their definitions: RLDX-1, OpenTau and physical-ai-studio share
one (frames beyond the ends repeat the first and the last), MOSS has zeros
there, and vit-pytorch looks back only. docs/replace_your_copy.md lists which
call replaces which.
"""
import pytest
import torch
import torch.nn.functional as F

from selfy_mmaction.ops import stss


def local(query, key, window, beyond):
    """All positions with all, cut to windows: [N, T, H, W, U, V]."""
    # [N, T, C, H, W] => [N, T, H, W, H, W]
    products = torch.einsum('ntchw,ntcij->nthwij', query, key)
    *_, H, W = products.shape
    r, s = window[0] // 2, window[1] // 2
    padded = F.pad(products, (s, s, r, r), value=beyond)
    rows = torch.arange(H)[:, None] + torch.arange(window[0])
    cols = torch.arange(W)[:, None] + torch.arange(window[1])
    h, w = torch.arange(H)[:, None], torch.arange(W)
    # [H, W, U, V] indices of each position's window
    return padded[:, :, h[..., None, None], w[..., None, None],
                  rows[:, None, :, None], cols[None, :, None, :]]


def copies(x, window, kind, replicate):
    """What MOSS and, with repeated frames, the robots' models compute."""
    (L, *window), T = window, x.shape[1]
    beyond = -torch.inf if kind == 'dotproduct_softmax' else 0.
    scale = 1. if kind == 'cosine' else x.shape[2]**-0.5
    if kind == 'cosine':
        x = F.normalize(x, dim=2)
    if L == 1:  # the frame before, the first frame with itself
        frames = [torch.cat([x[:, :1], x[:, :-1]], 1)]
    else:
        ends = [end if replicate else 0 * end for end in (x[:, :1], x[:, -1:])]
        padded = torch.cat([ends[0]] * (L // 2) + [x] + [ends[1]] * (L // 2),
                           1)
        frames = [padded[:, l:l + T] for l in range(L)]
    out = torch.stack(
        [local(x * scale, frame, window, beyond) for frame in frames], 4)
    if kind == 'dotproduct_softmax':
        out = out.flatten(-2).softmax(-1).view(out.shape)
    return out


def vit_pytorch(x, window, causal):
    """Windows of a padded, normalised clip [N, T, H, W, C]."""
    L, U, V = window
    x = F.normalize(x, dim=-1).movedim(-1, 1)
    ends = (L - 1, 0) if causal else (L // 2, L // 2)
    windows = F.pad(x, (V // 2, V // 2, U // 2, U // 2, *ends))
    windows = windows.unfold(2, L, 1).unfold(3, U, 1).unfold(4, V, 1)
    return torch.einsum('ncthw,ncthwluv->nthwluv', x, windows)


def assert_same(ours, theirs, x):
    """Forward and gradient."""
    actual, expected = ours(x), theirs(x)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)
    cotangent = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, x, cotangent),
        torch.autograd.grad(expected, x, cotangent),
        rtol=1e-8,
        atol=1e-9)


def features(*shape):
    torch.manual_seed(0)
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize('window, replicate', [((5, 3, 5), False),
                                               ((5, 3, 5), True),
                                               ((1, 3, 3), True)])
@pytest.mark.parametrize('kind',
                         ['cosine', 'dotproduct', 'dotproduct_softmax'])
def test_moss_and_the_robots_models(kind, window, replicate, device):
    options = dict(temporal_padding='replicate' if replicate else 'zeros')
    if window[0] == 1:
        options = dict(offsets=(-1, ), temporal_padding='replicate')
    x = features(2, 4, 6, 5, 7).to(device)

    def ours(x):
        if kind == 'cosine':
            return stss(F.normalize(x, dim=2), window, 'dot', **options)
        if kind == 'dotproduct':
            return stss(x, window, 'dot', scale=x.shape[2]**-0.5, **options)
        return stss(x, window, 'softmax', **options)

    assert_same(ours, lambda x: copies(x, window, kind, replicate), x)


@pytest.mark.parametrize('causal', [False, True])
def test_vit_pytorch(causal, device):
    args = dict(
        window=(3, 3, 5),
        similarity='dot',
        offsets=(-2, -1, 0) if causal else None,
        layout='NTHWC')
    assert_same(lambda x: stss(F.normalize(x, dim=-1), **args),
                lambda x: vit_pytorch(x, args['window'], causal),
                features(2, 4, 5, 7, 6).to(device))


def test_our_eps_is_not_theirs():
    """Ours is inside the root, theirs bounds the norm."""
    x = features(1, 3, 8, 5, 5).float()
    ours = stss(x, (3, 3, 3))
    theirs = stss(F.normalize(x, dim=2), (3, 3, 3), 'dot')
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert not torch.equal(ours, theirs)
