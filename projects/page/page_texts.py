"""What a visitor of the page of projects/page/app.py asks, and the answers."""
from collections.abc import Sequence

WHAT = """\
# What does SELFY see?
### What is this?
A SELFY block is a part of a network that names what happens in a video. It
compares each place of a frame with the places around it in the frames before
and after. Where a surface has texture and stays in view, the most similar
place is mostly where it went, or came from. Give a short clip, or pick one.
"""
CLICK = '### Click a place in a frame to compare it'
COLOURS = """\
### What do the colours mean?
- **How alike?** Bright is similar to the white square, dark is not. The arrow
  goes to the most similar place, the circle. Where everything around is alike,
  the picture says so.
- **Where to?** The same arrow for every place: the hue is its direction, as
  on the wheel, and the paler, the shorter. Black: everything around is alike.
- **What for?** Bright is where the block changes the features most.
"""
_LIMITS = """\
### What can it not do?
- This network knows only {count} classes{names}, and puts every clip in one of
  them.{synthetic}
- It does not measure motion. An arrow goes to the most similar place: where a
  surface has no texture, is hidden or leaves the view, that can be any place.
  On real clips, it often is.
- The picture shows what the block compares, not why the network decides so.
- Of a clip of more than {seconds:g} seconds, it shows the part that moves
  most, or the one that you choose.
"""
_SYNTHETIC = (' It has seen nothing but synthetic motions, rendered from '
              'photographs: its answer for a real video means little.')
# More names are no help.
_NAMES = 12


def describe_limits(classes: Sequence[str], is_synthetic: bool,
                    seconds: float) -> str:
    """Say what a network and its picture cannot do, in Markdown; longer clips
    than this are shown in part."""
    return _LIMITS.format(
        count=len(classes),
        names=f' ({", ".join(classes)})' if len(classes) <= _NAMES else '',
        synthetic=_SYNTHETIC if is_synthetic else '',
        seconds=seconds)
