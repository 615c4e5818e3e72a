"""The SELFY block in any network; needs only torch."""
import copy
import difflib
from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import chain
from typing import NamedTuple

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
        raise ValueError(f'{name} has a block: remove_selfy takes it out.')
    if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        raise ValueError(f'{name} is a {type(module).__name__}: no block can '
                         'follow that, but one of its entries.')
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
                yield first.weight.new_zeros(*shape, *size)


class _Stub(nn.Module):
    """In the place of a block, it shows whether the parent calls it."""
    output = None

    def forward(self, x):
        self.output = x
        return x


class _AllSeen(Exception):
    """Ends a pass when nothing more is to be seen."""


class _Seen(NamedTuple):
    """The output at a place, and what it comes from."""
    place: Place
    x: Tensor
    relu: bool  # the output of a ReLU
    is_layer: bool  # whether one more child is one more layer


def _run(model: nn.Module, places: list[Place], x: Tensor) -> dict[str, _Seen]:
    """Run the network on an example, up to the places."""
    # A copy with the same weights, since a pass may change all else.
    model = copy.deepcopy(model, {id(p): p for p in model.parameters()})
    model.eval()
    seen = {}

    def see(place, module, _, output):
        x, last = place.read(output), module.selfy.output
        if last is not None and last is not output:
            raise OutputError(f'{place.after} would call the block between '
                              'its own children: name one of them.')
        relu = type(x.grad_fn).__name__ == 'ReluBackward0'
        seen[place.after] = _Seen(
            place.settle(x), x.detach(), relu, last is output)
        if len(seen) == len(places):
            raise _AllSeen

    for place in places:
        module = model.get_submodule(place.after)
        module.selfy = _Stub()
        module.register_forward_hook(partial(see, place))
    # Of the graph only the nodes are needed, none of the tensors.
    with torch.enable_grad(), saved_tensors_hooks(lambda _: None, id):
        try:
            model(x.requires_grad_().clone())
        except _AllSeen:
            return seen
    raise ValueError('it does not call all of them')


def _observe(model: nn.Module, places: list[Place]) -> dict[str, _Seen]:
    """Run the network on the first example that it takes, if there is one."""
    faults = []
    for x in _examples(model, places[0].num_segments, places[0].grid):
        try:
            return _run(model, places, x)
        except Exception as error:
            faults.append(error)
    for fault in faults:
        if isinstance(fault, OutputError):
            raise fault
    why = str(faults[0]).partition('\n')[0] if faults else 'no convolution'
    names = ', '.join(place.after for place in places)
    raise ValueError(f'{type(model).__name__} does not run on zeros to show '
                     f'what {names} gives ({why}): give in_channels, and the '
                     'grid if these are tokens.')


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
    submodule's class becomes a subclass of it, which calls the block; one
    that runs its children one by one, as ``nn.Sequential``, has the block as
    its last layer instead.

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
    if not places:
        raise ValueError('after must name a submodule, but is empty.')
    try:
        seen = _observe(model, [*places.values()])
    except ValueError:
        if in_channels is None:
            raise
        seen = {}
    blocks = []
    for module, place in places.items():
        like = next(chain(module.parameters(), model.parameters()), None)
        place, x, relu, is_layer = seen.get(
            place.after,
            (place, like, False, isinstance(module, nn.Sequential)))
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
        built.to(x).train(module.training)
        blocks.append((module, built, is_layer))
    for module, built, is_layer in blocks:
        if not is_layer:
            module.__class__ = _derive(_Followed, type(module))
        module.selfy = built
    return model


def remove_selfy(model: nn.Module) -> nn.Module:
    """Take all blocks of :func:`insert_selfy` out again; return the model."""
    for module in list(model.modules()):
        if isinstance(getattr(module, 'selfy', None), _Block):
            del module.selfy
        if isinstance(module, _Followed):
            module.__class__ = type(module).__bases__[1]
    return model
