"""The SELFY block in any network; needs only torch."""
import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ..ops.stss import check_choice
from ..registry import MODELS
from .layouts import OutputError, Place


class _Derived:
    """Mixin of classes that are made on demand, and pickled by their bases."""

    def __reduce_ex__(self, protocol):
        return _new, type(self).__bases__, *super().__reduce_ex__(protocol)[2:]


class _Block(_Derived):
    """A block that takes the whole output of a submodule."""

    def forward(self, output):
        return self.place.add_motion(super().forward, output)


class _Followed(_Derived):
    """A submodule whose output goes through its block."""

    def forward(self, *args, **kwargs):
        return self.selfy(super().forward(*args, **kwargs))


@cache
def _derive(mixin: type, base: type) -> type:
    return type(base.__name__, (mixin, base), {'__module__': base.__module__})


def _new(mixin: type, base: type) -> nn.Module:
    cls = _derive(mixin, base)
    return cls.__new__(cls)


def _is_sequence(module: nn.Module) -> bool:
    """Whether one more child is one more layer."""
    return type(module).forward is nn.Sequential.forward


def _find(model: nn.Module, name: str) -> nn.Module:
    """The submodule of this name, if a block can follow it."""
    try:
        module = model.get_submodule(name)
    except AttributeError:
        names = [other for other, _ in model.named_modules()]
        near = ', '.join(difflib.get_close_matches(name, names, cutoff=0))
        raise ValueError(f'{type(model).__name__} has no submodule {name!r}; '
                         f'the nearest are {near}.') from None
    if hasattr(module, 'selfy'):
        raise ValueError(f'{name} has a block: remove_selfy(model) takes it '
                         'out.')
    containers = nn.Sequential, nn.ModuleList, nn.ModuleDict
    if isinstance(module, containers) and not _is_sequence(module):
        raise ValueError(f'{name} is a {type(module).__name__}, which no '
                         'block can follow: name one of its entries.')
    if 'forward' in vars(module):
        raise ValueError(f'The forward of {name} was replaced, perhaps by '
                         'accelerate: insert the block before that.')
    return module


def _examples(model: nn.Module, T: int,
              grid: tuple | None) -> Iterator[Tensor]:
    """Frames or clips of zeros, in the shapes that networks take."""
    kinds = nn.Conv2d, nn.Conv3d
    for first in [m for m in model.modules() if isinstance(m, kinds)][:1]:
        C, (*time, rows, columns) = first.in_channels, first.stride
        shapes = [(T, C), (1, T, C), (1, C, T)]
        if time:
            shapes = [(1, C, T * time[0]), (1, T * time[0], C)]
        sizes = [(grid[0] * rows, grid[1] * columns)] if grid else []
        for size in *sizes, (224, 224):
            for shape in shapes:
                # With a gradient, since all parameters may be frozen.
                yield first.weight.new_zeros(*shape, *size, requires_grad=True)


class _AllSeen(Exception):
    """Ends a pass when nothing more is to be seen."""


def _observe(model: nn.Module, places: dict[nn.Module, Place],
             examples: Iterable[Tensor]) -> dict[nn.Module, tuple]:
    """Run the network up to the outputs of the submodules.

    Returns:
        dict[nn.Module, tuple]: Each output, and whether a ReLU computes it.
    """
    seen, faults, modules = {}, [], list(model.modules())

    def see(module, _, output):
        x = places[module].read(output)
        places[module] = places[module].settle(x)
        seen[module] = x.detach(), type(x.grad_fn).__name__ == 'ReluBackward0'
        if len(seen) == len(places):
            raise _AllSeen

    modes = [module.training for module in modules]
    handles = [module.register_forward_hook(see) for module in places]
    try:
        for module in modules:
            module.training = False
        # Of the graph only the nodes are needed, none of the tensors.
        with torch.enable_grad(), saved_tensors_hooks(lambda _: None, id):
            for x in examples:
                seen.clear()
                try:
                    model(x.clone())
                except _AllSeen:
                    return seen
                except Exception as error:
                    faults.append(error)
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for handle in handles:
            handle.remove()
    for fault in faults:
        if isinstance(fault, OutputError):
            raise fault
    why = str(faults[0]).partition('\n')[0] if faults else 'they are not run'
    raise ValueError(
        f'The channels of {", ".join(p.after for p in places.values())} '
        f'cannot be found in {type(model).__name__} ({why}): give in_channels.'
    )


def insert_selfy(model: nn.Module,
                 after: str | Iterable[str],
                 num_segments: int,
                 *,
                 layout: str | None = None,
                 grid: tuple[int, int] | None = None,
                 prefix_tokens: int = 0,
                 in_channels: int | None = None,
                 **block) -> nn.Module:
    """Put SELFY blocks into any network (Sec. 3.4).

    Until it is trained, the network computes the same, bit for bit. Its
    parameters keep their names; those of a block are in ``AFTER.selfy``. The
    submodule's class becomes a subclass of it, which calls the block; in an
    ``nn.Sequential`` the block is the last layer instead.

    A block adds motion to maps [N * T, C, H, W] or [N * T, H, W, C]; with a
    grid, to tokens of frames [N * T, prefix + h * w, C] or of clips
    [N, prefix + T * h * w, C], frame by frame and row by row; in a tuple or
    list, to the first entry.

    Args:
        model (nn.Module): The network, which is changed.
        after (str | Iterable[str]): The dotted names of submodules whose
            output a block each is for.
        num_segments (int): Frames per clip at the block, T.
        layout (str, optional): 'NCHW' or 'NHWC'. By default as the shape of
            the output tells, or else 'NCHW'.
        grid (tuple[int, int], optional): (h, w) of tokens.
        prefix_tokens (int): Tokens before the patches, such as a class
            token. Defaults to 0.
        in_channels (int, optional): C. By default the network is run once on
            zeros, up to there; to be given if that fails.
        **block: Arguments of :class:`SELFYBlock`, or of the block that
            ``type`` names. ``relu`` is by default whether the output comes
            out of a ReLU, and False if the network cannot be run.

    Returns:
        nn.Module: The network.

    Raises:
        ValueError: If no block can be there. The network is left as it was.
    """
    check_choice('layout', layout, (None, 'NCHW', 'NHWC'))
    if not isinstance(num_segments, int) or num_segments < 1:
        raise ValueError('num_segments must be a positive integer, but got '
                         f'{num_segments!r}.')
    grid = grid and tuple(grid)
    places = {
        _find(model, name): Place(name, num_segments, layout, grid,
                                  prefix_tokens)
        for name in ([after] if isinstance(after, str) else after)
    }
    try:
        seen = _observe(model, places, _examples(model, num_segments, grid))
    except ValueError:
        if in_channels is None:
            raise
        seen = {}
    blocks = {}
    for module, place in places.items():
        x, relu = seen.get(module) or (next(
            chain(module.parameters(), model.parameters())), False)
        channels = -1 if grid or place.layout == 'NHWC' else 1
        built = MODELS.build({
            'type': 'SELFYBlock',
            'in_channels': in_channels or x.shape[channels],
            'num_segments': num_segments,
            'relu': relu,
            **block
        })
        built.__class__ = _derive(_Block, type(built))
        built.place = place
        blocks[module] = built.to(x).train(module.training)
    for module, built in blocks.items():
        if not _is_sequence(module):
            module.__class__ = _derive(_Followed, type(module))
        module.selfy = built
    return model


def remove_selfy(model: nn.Module) -> nn.Module:
    """Take the blocks of :func:`insert_selfy` out of a network again.

    Returns:
        nn.Module: The network, as it was.
    """
    for module in list(model.modules()):
        if isinstance(getattr(module, 'selfy', None), _Block):
            del module.selfy
        if isinstance(module, _Followed):
            module.__class__ = type(module).__bases__[1]
    return model
