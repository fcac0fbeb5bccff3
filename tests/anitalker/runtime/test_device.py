"""Device, number format and memory."""

import pytest
import torch

from anitalker.config import InputError
from anitalker.runtime import device


def test_auto_prefers_the_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.choose_device("auto").type == "cpu"
    with pytest.raises(InputError, match="not usable on this machine; usable are auto, cpu"):
        device.choose_device("cuda")


def test_batch_size_follows_a_gpus_free_memory(monkeypatch):
    card, free = torch.device("cuda"), {"GiB": 1000}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free["GiB"] * 2**30, 2**40))
    assert device.choose_batch_size(card) == device.MAX_BATCH_SIZE and device.choose_batch_size(card, 5) == 5
    free["GiB"] = 4
    assert device.choose_batch_size(card) == 8
    free["GiB"] = 0
    assert device.choose_batch_size(card) == 1
    assert device.choose_batch_size(torch.device("cpu")) == device.DEFAULT_BATCH_SIZE


def test_devices_that_render_in_bfloat16(monkeypatch):
    """GPUs that support it, CPUs where it is faster, nothing else."""
    for able in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        assert device.draws_in_bfloat16(torch.device("cuda"), 8) == able
    assert not device.draws_in_bfloat16(torch.device("mps"), 8)
    first = device.draws_in_bfloat16(torch.device("cpu"), 8)
    assert all(device.draws_in_bfloat16(torch.device("cpu"), 8) == first for _ in range(5)), "measured again"


def test_peak_memory_is_in_mib():
    """A process with torch in it: more than 50 MiB, less than 50 GiB, and never falling."""
    before = device.peak_memory()
    assert 50 < before < 50_000
    assert device.peak_memory() >= before
