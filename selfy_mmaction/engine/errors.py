"""Errors of the tools: one line each, with the remedy."""
import functools
import os.path as osp
import re
import sys
import textwrap
from collections.abc import Callable

from ..files import printable

TRACEBACK = '--traceback'
# Messages that people meet, of MMEngine, Python and PyTorch -> ours.
_TRANSLATIONS = {
    r'(\S+) is not in the \w+::(.+?) registry\.':
    r"the config names the \2 '\1', which is not known: check its spelling, "
    'or import its module in custom_imports.',
    r"([\w.]+?)(\.__init__)?\(\) got an unexpected keyword argument '(\w+)'":
    r"the config sets '\3' of \1, which has no such setting: check its "
    'spelling.',
    r'DataLoader worker .*(exit code 28|Bus error)':
    'the data loading processes have no room in /dev/shm for their batches: '
    'enlarge it (docker run --shm-size=8g), or set num_workers=0 and '
    'persistent_workers=False of the data loader.',
    r'DataLoader worker \(.*\) (is killed by signal: [\w ]+|exited unexp\w+)':
    r'a data loading process \1: tools/check_data.py finds clips that '
    'crash the decoder.',
    r'mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x':
    r'a linear layer takes \2 features, but is given \1: if it is the '
    r'classifier, set model.cls_head.in_channels=\1.',
    r"(can't allocate memory: .*? bytes|calculation overflowed with sizes=\S+|"
    r'CUDA out of memory\. Tried to allocate [\d.]+ \w+)':
    r'it takes more memory than there is (\1): lower the batch size, the size '
    'of the frames or the window of SELFY, or set model.backbone.with_cp.',
    '`epoch_length` must be a positive integer, but got 0':
    'train_dataloader has no batch, since it has fewer clips than one: lower '
    'train_dataloader.batch_size.',
    r'^\[Errno \d+\] (No space left .*|File too large|Disk quota [^:]*)$':
    r'a file cannot be written (\1): make room, or write elsewhere, such as '
    'with --work-dir.',
}


def one_line_errors(main: Callable[[], None]) -> Callable[[], None]:
    """Report an error in one line and exit with status 1.

    ``--traceback`` shows the traceback instead.
    """

    @functools.wraps(main)
    def run() -> None:
        name = osp.basename(sys.argv[0])
        try:
            main()
        except KeyboardInterrupt:
            sys.exit(f'{name}: interrupted.')
        except Exception as error:
            if TRACEBACK in sys.argv:
                raise
            sys.exit(f'{name}: error: {describe_error(error)}')

    return run


def describe_error(error: Exception) -> str:
    """Describe an error in one line.

    An error that neither this package nor the operating system raised for
    users is given with its type and a hint at ``--traceback``.
    """
    # Names in it may come from a file.
    return printable(_describe(error))


def _describe(error: Exception) -> str:
    # A KeyError as text has its message in quotes.
    text = str(error.args[0]) if len(error.args) == 1 else str(error)
    known = f'{text} {error.__cause__ or ""}'.strip()
    for pattern, translation in _TRANSLATIONS.items():
        match = re.search(pattern, known)
        if match:
            return match.expand(translation)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if 'Original Traceback (most recent call last):' in lines:
        # from a data loading process
        return re.sub(r'^(OSError|ValueError): ', '', lines[-1])
    line = textwrap.shorten(' '.join(lines), 600, placeholder=' ...')
    if isinstance(error, (OSError, ValueError)):
        return line
    return f'{type(error).__name__}: {line} ({TRACEBACK} shows where)'
