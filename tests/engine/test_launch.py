"""How data loading processes end."""
import re
from multiprocessing.queues import Queue

import pytest
from torch.utils.data import DataLoader

from selfy_mmaction.engine import errors, runner


class Unsendable:
    """A batch that cannot be pickled."""

    def __init__(self, message):
        self.message = message

    def __reduce__(self):
        raise RuntimeError(self.message)


@pytest.mark.parametrize('reason, message', [
    ('unable to allocate shared memory(shm) for file </torch_1_2_3>: No space '
     'left on device (28)',
     'the data loading processes have no room in /dev/shm .*--shm-size.*'),
    ('something else', 'a data loading process exited unexpectedly: .*'),
])
def test_a_lost_batch_ends_the_run(reason, message, monkeypatch):
    monkeypatch.setattr(Queue, '_on_queue_feeder_error',
                        Queue._on_queue_feeder_error)
    runner.end_where_batches_are_lost()
    loader = DataLoader([Unsendable(reason)],
                        num_workers=1,
                        timeout=30,
                        collate_fn=list,
                        multiprocessing_context='fork')
    with pytest.raises(RuntimeError) as info:
        next(iter(loader))
    assert re.fullmatch(message, errors.describe_error(info.value))
