"""Measures of time and memory."""
import pytest
import torch
from stopwatch import peak_bytes, show_time


def test_peak_of_memory():

    def function():
        kept = torch.ones(1000)  # 4000 bytes
        torch.ones(5000)  # 20000, freed before the next
        return kept + torch.ones(1000)

    assert 24000 <= peak_bytes(function, torch.device('cpu')) < 25000


@pytest.mark.parametrize('seconds, text', [(1.234567, '1235 ms'),
                                           (0.0123456, '12.3 ms'),
                                           (0.00123456, '1.23 ms'),
                                           (0.000040321, '40.3 us')])
def test_times_have_three_digits(seconds, text):
    assert show_time(seconds) == text
