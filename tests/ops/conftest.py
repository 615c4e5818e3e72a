"""Where the operators are tested: the CPU, and a GPU where there is one."""
import pytest
import torch


@pytest.fixture(
    scope='session',
    params=['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu'])
def device(request):
    return torch.device(request.param)
