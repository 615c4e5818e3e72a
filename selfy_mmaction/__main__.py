"""Runs a program of MMAction2's with the repairs of this package.

``python -m selfy_mmaction PROGRAM ARGUMENTS``: most of MMAction2's programs
import ``mmaction.models`` or load a checkpoint before they read the config
whose ``custom_imports`` would import this package.
"""
import runpy
import sys
from pathlib import Path


def main():
    """Run the program that the command line names, as Python would.

    Raises:
        SystemExit: If it names none.
    """
    # Importing the package, which Python has done, has applied the repairs.
    del sys.argv[0]
    if not sys.argv or not Path(sys.argv[0]).is_file():
        name = sys.argv[0] if sys.argv else 'no program'
        raise SystemExit(f'selfy_mmaction: error: {name} is no Python file; '
                         'usage: python -m selfy_mmaction PROGRAM ARGUMENTS')
    # Where Python looks for the neighbours of a program.
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name='__main__')


if __name__ == '__main__':
    main()
