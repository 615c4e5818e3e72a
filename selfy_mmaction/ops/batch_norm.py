"""Batch norm and ReLU over rows of channels, in chunks that fit the cache.

On a CPU, PyTorch's batch norm loses two digits on channels-last maps, and
followed by a ReLU it reads and writes a map more often than necessary. Maps
are matrices here: a row is one or several positions, [..., positions * C].
"""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Values of a chunk, few enough to be in the cache still for the second read.
_VALUES_PER_CHUNK = 1 << 17

_kernels_enabled = True


def uses_cpu_kernels(x: Tensor, *norms: nn.Module) -> bool:
    """Whether to use the kernels here and in conv_chain.py.

    They are written for a CPU's cache. On other devices, in traced graphs and
    with norms other than BatchNorm2d, such as SyncBN, the block uses
    PyTorch's own layers.

    Args:
        x (Tensor): The input.
        *norms (nn.Module): The norms applied to it; an Identity is a norm
            that was fused with its convolution.
    """
    return (_kernels_enabled and x.device.type == 'cpu'
            and not torch.compiler.is_compiling() and all(
                isinstance(norm, (nn.BatchNorm2d, nn.Identity))
                for norm in norms))


@contextmanager
def pytorch_layers() -> Iterator[None]:
    """Use PyTorch's own layers on a CPU, too, for comparisons."""
    global _kernels_enabled
    before, _kernels_enabled = _kernels_enabled, False
    try:
        yield
    finally:
        _kernels_enabled = before


def chunks(size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Iterate over tensors of equal length, ``size`` rows at a time."""
    return zip(*(x.split(size) for x in tensors), strict=True)


def at_least_float32(x: Tensor) -> Tensor:
    """Half types as float32, for sums; wider types unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def uses_batch_statistics(bn: nn.Module) -> bool:
    """Whether a norm uses the statistics of its input."""
    return not isinstance(bn, nn.Identity) and (bn.training
                                                or bn.running_mean is None)


def affine(bn: nn.BatchNorm2d, mean: Tensor,
           var: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift, [C] each, of a norm with these statistics."""
    scale = bn.weight * (var + bn.eps).rsqrt()
    return scale, bn.bias - mean * scale


def update_running(bn: nn.BatchNorm2d, mean: Tensor, var: Tensor,
                   count: int) -> None:
    """Update a norm's running statistics as its own forward would.

    Args:
        bn (BatchNorm2d): The norm, in training mode.
        mean (Tensor): Means of the batch, [C].
        var (Tensor): Biased variances of the batch, [C].
        count (int): Number of values per channel.
    """
    if not bn.track_running_stats:
        return
    with torch.no_grad():
        bn.num_batches_tracked += 1
        momentum = bn.momentum
        if momentum is None:  # a cumulative average
            momentum = 1 / bn.num_batches_tracked.to(bn.running_mean)
        unbiased = var * (count / max(count - 1, 1))
        bn.running_mean.lerp_(mean.to(bn.running_mean.dtype), momentum)
        bn.running_var.lerp_(unbiased.to(bn.running_var.dtype), momentum)


class Moments:
    """Mean and variance of rows that arrive in chunks.

    Deviations are taken from the mean of the first chunk, which avoids
    cancellation.
    """

    def __init__(self):
        self._count = 0

    def add(self, rows: Tensor) -> None:
        """[m, K]"""
        rows = at_least_float32(rows)
        if not self._count:
            self._pivot = rows.mean(0)
            self._first = torch.zeros_like(self._pivot)
            self._second = torch.zeros_like(self._pivot)
        self._count += len(rows)
        rows = rows - self._pivot
        self._first += rows.sum(0)
        self._second += rows.square_().sum(0)

    def per_channel(self, channels: int) -> tuple[Tensor, Tensor]:
        """Mean and biased variance, [C] each, where K is positions * C."""
        first, second = self._first / self._count, self._second / self._count
        # [positions * C] => [positions, C]
        var = (second - first.square()).view(-1, channels)
        mean = (self._pivot + first).view(-1, channels)
        return mean.mean(0), var.mean(0) + mean.var(0, correction=0)


class NormReLU:
    """A norm with the statistics of its input, and the ReLU after it.

    Vectors are repeated over the positions of a row.
    """

    def __init__(self, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor,
                 eps: float, positions: int):
        self._rstd = (var + eps).rsqrt()
        self._scale = weight * self._rstd
        self._mean, self._positions = mean, positions
        self._tiled = [
            x.repeat(positions)
            for x in (self._scale, bias - mean * self._scale)
        ]
        self._grad_bias = self._grad_rows = 0

    def __call__(self, rows: Tensor) -> Tensor:
        """[m, positions * C] => the same shape, after norm and ReLU"""
        scale, shift = self._tiled
        out = torch.addcmul(shift, at_least_float32(rows), scale).relu_()
        return out.to(rows.dtype)

    def add_grad(self, grad: Tensor, rows: Tensor) -> None:
        """Accumulate a chunk of the gradient after the norm."""
        grad, rows = at_least_float32(grad), at_least_float32(rows)
        self._grad_bias = self._grad_bias + grad.sum(0)
        self._grad_rows = self._grad_rows + (grad * rows).sum(0)

    def grads(self, count: int) -> tuple[Tensor, Tensor]:
        """Gradients of weight and bias, once every chunk was added.

        Args:
            count (int): Number of values per channel.
        """
        grad_bias, grad_rows = (
            x.view(self._positions, -1).sum(0)
            for x in (self._grad_bias, self._grad_rows))
        grad_scale = grad_rows - self._mean * grad_bias
        # The mean and the variance depend on the input, too.
        slope = -self._scale * self._rstd.square() * grad_scale / count
        offset = -self._scale * grad_bias / count - slope * self._mean
        self._slope = slope.repeat(self._positions)
        self._offset = offset.repeat(self._positions)
        return grad_scale * self._rstd, grad_bias

    def backward(self, grad: Tensor, rows: Tensor) -> Tensor:
        """Gradient before the norm from that after it, [m, positions * C]"""
        scale, _ = self._tiled
        out = torch.addcmul(self._offset, at_least_float32(grad), scale)
        return out.addcmul_(at_least_float32(rows), self._slope).to(rows.dtype)


def relu_backward(grad: Tensor, out: Tensor) -> Tensor:
    """Gradient before a ReLU from that after it and its output."""
    return torch.ops.aten.threshold_backward(grad, out, 0)


def _rows(x: Tensor) -> Tensor:
    """[B, C, h, w] => [B * h * w, C], a view if x is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """[B * h * w, C] => [B, C, h, w], channels-last."""
    B, C, h, w = like.shape
    return rows.view(B, h, w, C).permute(0, 3, 1, 2)


class _BatchNormReLU(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor,
                eps: float) -> tuple[Tensor, Tensor, Tensor]:
        """[B, C, h, w] => the same shape, and mean and variance, [C] each"""
        rows, moments = _rows(x), Moments()
        ctx.size = max(_VALUES_PER_CHUNK // rows.shape[1], 1)
        for chunk, in chunks(ctx.size, rows):
            moments.add(chunk)
        mean, var = moments.per_channel(rows.shape[1])
        norm_relu = NormReLU(weight, bias, mean, var, eps, 1)
        out = torch.empty_like(rows)
        for chunk, target in chunks(ctx.size, rows, out):
            target.copy_(norm_relu(chunk))
        out = _maps(out, x)
        ctx.save_for_backward(x, weight, bias, mean, var, out)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var)
        return out, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, *_) -> tuple:
        x, weight, bias, mean, var, out = ctx.saved_tensors
        rows, out, grad = _rows(x), _rows(out), _rows(grad)
        norm_relu = NormReLU(weight, bias, mean, var, ctx.eps, 1)
        for g, r, o in chunks(ctx.size, grad, rows, out):
            norm_relu.add_grad(relu_backward(g, o), r)
        grad_weight, grad_bias = norm_relu.grads(len(rows))
        grad_x = torch.empty_like(rows)
        for g, r, o, target in chunks(ctx.size, grad, rows, out, grad_x):
            target.copy_(norm_relu.backward(relu_backward(g, o), r))
        return _maps(grad_x, x), grad_weight, grad_bias, None


def batch_norm_relu(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    """Batch norm with the statistics of ``x``, and ReLU.

    Args:
        x (Tensor): Feature maps, [B, C, h, w].
        bn (BatchNorm2d): The norm, in training mode; its running statistics
            are updated.

    Returns:
        Tensor: The same shape, channels-last in memory.
    """
    out, mean, var = _BatchNormReLU.apply(x, bn.weight, bn.bias, bn.eps)
    update_running(bn, mean, var, x.numel() // x.shape[1])
    return out
