"""Measures of time and memory."""
import torch

from selfy_mmaction.analysis.stopwatch import peak_bytes


def test_peak_of_memory():

    def function():
        kept = torch.ones(1000)  # 4000 bytes
        torch.ones(5000)  # 20000, freed before the next
        return kept + torch.ones(1000)

    assert 24000 <= peak_bytes(function, torch.device('cpu')) < 25000
