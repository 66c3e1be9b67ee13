import numpy as np
import torch

from mllmu_tasks.models.memory import peak_memory


def test_the_peak_is_in_mib_and_stays_when_memory_is_given_back():
    before = peak_memory(torch.device("cpu"))
    assert 20 < before < 100_000
    block = np.ones(int((before + 64) * 2**20 / 8))  # more than this process ever held
    del block
    assert peak_memory(torch.device("cpu")) >= before + 60
