"""The devices of the tests; needs PyTorch alone."""
import pytest
import torch


@pytest.fixture(
    scope='session',
    params=['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu'])
def device(request) -> torch.device:
    """Where numbers are held: the CPU, and a GPU where there is one."""
    return torch.device(request.param)
