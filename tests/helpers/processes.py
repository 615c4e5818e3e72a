"""Tools as separate processes, forked from one with all imports done."""
import multiprocessing
import os
import runpy
import signal
import sys
from pathlib import Path

# What the tools import takes seconds: here it is done once for all of them.
import matplotlib.pyplot  # noqa: F401
import torch
from ports import get_free_port

import selfy_mmaction.engine.hooks
import selfy_mmaction.models  # noqa: F401

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload([__name__])


class ToolProcess:
    """A tool that runs.

    Args:
        tool (str): Its name in ``tools``, without ending.
        args (Sequence[str]): Its arguments.
        cwd (Path): The folder to run it in. It writes to ``log.txt`` there.
        limit (int, optional): The largest file that it can write, bytes.
        env (dict[str, str]): Changes of the environment.
    """

    def __init__(self, tool, args, cwd, limit=None, **env):
        self.log_file = Path(cwd) / f'log{env.get("RANK", "")}.txt'
        self.log_file.write_text('')
        args = [str(arg) for arg in args]
        self.process = _context.Process(
            target=_run, args=(tool, args, cwd, self.log_file, limit, env))
        self.process.start()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors='replace')

    @property
    def runs(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> None:
        """kill -9"""
        if self.runs:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def wait(self) -> int:
        """Return the exit code."""
        self.process.join()
        return self.process.exitcode


def start_ranks(number, tool, args, cwd, **env):
    """Start a tool as several distributed processes."""
    env |= {
        'WORLD_SIZE': str(number),
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': str(get_free_port())
    }
    return [
        ToolProcess(
            tool, [*args[:1], '--launcher', 'pytorch', *args[1:]],
            cwd,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            **env) for rank in range(number)
    ]


def _run(tool, args, cwd, log_file, limit, env):
    log = os.open(log_file, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(cwd)
    os.environ.update(env, CUDA_VISIBLE_DEVICES='')
    torch.set_num_threads(1)
    if limit:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = [f'{tool}.py', *args]
    runpy.run_path(str(TOOLS / f'{tool}.py'), run_name='__main__')
