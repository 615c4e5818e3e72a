"""STSS alone: its implementations against the copies' formula."""
import os
from collections.abc import Callable, Sequence
from functools import partial

import torch
from measure import check_parity, compare, has_triton
from torch import Tensor, nn

from selfy_mmaction.ops import stss
from selfy_mmaction.ops.reference import stss_einsum

# [N, T, C, H, W]: SELFYNet's, and those of models with copies of the op.
FEATURES = [(2, 8, 128, 14, 14), (2, 4, 512, 16, 16), (1, 8, 128, 32, 32)]
# Relative to the largest value, since sums lose more than their terms.
_TOLERANCES = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def implementations(device: torch.device) -> dict[str, Callable]:
    """Functions of features, by name."""

    def ours(choice: str, x: Tensor) -> Tensor:
        os.environ['SELFY_STSS'] = choice
        return stss(x, similarity='dot')

    functions = {
        'einsum + diagonals': partial(stss_einsum, similarity='dot'),
        'stss': partial(ours, 'torch')
    }
    if has_triton(device):
        functions['stss, Triton'] = partial(ours, 'triton')
    return functions


def benchmark(
    device: torch.device,
    rounds: int,
    shapes: Sequence[tuple[int, ...]] | None = None,
    types: Sequence[torch.dtype] = (torch.float32, )
) -> list:
    """Rows of features and types, forward and with backward.

    Raises:
        ValueError: If an implementation is wrong.
    """
    return [
        row for shape in shapes or FEATURES for dtype in types
        for row in _compare(device, rounds, shape, dtype)
    ]


def _compare(device: torch.device, rounds: int, shape: tuple[int, ...],
             dtype: torch.dtype) -> list[list[str]]:
    # Unit vectors, since the copies' cosine of nothing is NaN in float16.
    x = nn.functional.normalize(torch.randn(shape, device=device), dim=2)
    x = x.to(dtype)
    cotangent = torch.randn_like(stss(x))

    def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(
            function(leaf), leaf, cotangent.to(x.dtype))[0]

    rows, name = [], f'{str(dtype).removeprefix("torch.")} {list(shape)}'
    for what, run in (('forward', lambda function, x: function(x)),
                      ('forward + backward', gradient)):
        exact = run(partial(stss_einsum, similarity='dot'), x.double())
        tolerance = _TOLERANCES[dtype] * exact.abs().max().item()
        ways = {'writing the output': cotangent.clone}
        for key, function in implementations(device).items():
            check_parity(
                run(function, x).double(), exact, f'{key}, {what}, {name},', 0,
                tolerance)
            ways[key] = partial(run, function, x)
        rows += compare(f'stss, {what}, {name}', ways, device, rounds)
    return rows
