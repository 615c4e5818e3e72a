"""What a training tells of itself."""
import sys

from mmaction.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor, Runner

try:
    import resource
except ImportError:  # not on Windows
    resource = None


@LOG_PROCESSORS.register_module()
class MemoryLogProcessor(LogProcessor):
    """Logs memory without a GPU, too.

    Where MMEngine logs the memory that tensors took of a GPU at most, in MB,
    this logs what the process took of the machine at most where there is no
    GPU. Processes that load data are not counted.
    """

    def get_log_after_iter(self, runner: Runner, batch_idx: int,
                           mode: str) -> tuple[dict, str]:
        """Return what is logged of an iteration, as values and as a line."""
        values, line = super().get_log_after_iter(runner, batch_idx, mode)
        if 'memory' not in values and resource:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            # in bytes on macOS, in kilobytes elsewhere
            values['memory'] = peak >> (20 if sys.platform == 'darwin' else 10)
            line += f'  memory: {values["memory"]}'
        return values, line
