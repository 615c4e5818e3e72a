"""Maps and tokens: how a block reads and writes the features of a network.

N clips of T frames (num_segments); maps of H x W positions, tokens of a grid
of h x w patches.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


def add_to_tokens(block: Callable[[Tensor], Tensor],
                  tokens: Tensor,
                  grid: tuple[int, int],
                  prefix_tokens: int = 0) -> Tensor:
    """[..., prefix + n * h * w, C] => the same, with motion.

    The tokens are those of frames in order, row by row; the block adds
    motion to maps [N * T, C, h, w]. Prefix tokens stay as they are.
    """
    patches = tokens[..., prefix_tokens:, :]
    # [..., n * h * w, C] => [N * T, h, w, C] => [N * T, C, h, w]
    maps = patches.reshape(-1, *grid, tokens.shape[-1]).permute(0, 3, 1, 2)
    # => [N * T, h, w, C] => [..., n * h * w, C]
    patches = block(maps).permute(0, 2, 3, 1).reshape(patches.shape)
    if prefix_tokens:
        patches = torch.cat([tokens[..., :prefix_tokens, :], patches], -2)
    # In the tokens' own memory order, which determines the order of sums in
    # later layers, and so the last digit of the scores.
    return torch.empty_like(tokens).copy_(patches)


class OutputError(ValueError):
    """An output that no block can be added to."""


class Place(NamedTuple):
    """Where a block is, and how the output there is to be read."""
    after: str
    num_segments: int
    layout: str | None
    grid: tuple[int, int] | None
    prefix_tokens: int

    def read(self, output: Any) -> Tensor:
        """The maps or tokens in an output, or an error that asks for them."""
        x = output[0] if isinstance(output, (tuple, list)) else output
        if not isinstance(x, Tensor):
            raise OutputError(
                f'{self.after} gives a {type(output).__name__}: name a '
                'submodule that gives a tensor, or a tuple with one in front.')
        seen = f'{self.after} gives {list(x.shape)}'
        if self.grid:
            prefix, frame = self.prefix_tokens, self.grid[0] * self.grid[1]
            tokens = [prefix + frame, prefix + self.num_segments * frame]
            if x.dim() < 3 or x.shape[-2] not in tokens:
                raise OutputError(
                    f'{seen}, but grid={self.grid} and prefix_tokens={prefix} '
                    f'make {tokens[0]} tokens of a frame, or {tokens[1]} of a '
                    f'clip of num_segments={self.num_segments}.')
        elif x.dim() != 4 or self.prefix_tokens:
            raise OutputError(
                f'{seen}, not maps [N * T, C, H, W]: if they are tokens, give '
                'their grid=(h, w) and prefix_tokens.')
        return x

    def settle(self, x: Tensor) -> 'Place':
        """With the layout that the map of a square image shows."""
        if self.grid or self.layout or x.shape[1] != x.shape[2]:
            return self
        if x.shape[2] == x.shape[3]:
            raise OutputError(
                f'{self.after} gives {list(x.shape)}, which may be either '
                "layout: give layout='NCHW' or layout='NHWC'.")
        return self._replace(layout='NHWC')

    def add_motion(self, block: Callable[[Tensor], Tensor],
                   output: Any) -> Any:
        """The same output, with motion in its maps or tokens."""
        x = self.read(output)
        if self.grid:
            y = add_to_tokens(block, x, self.grid, self.prefix_tokens)
        elif self.layout == 'NHWC':
            y = add_to_tokens(block, x, x.shape[1:3])
        else:
            y = block(x)
        if x is output:
            return y
        # a tuple, a list or a named tuple
        return getattr(output, '_make', type(output))((y, *output[1:]))
