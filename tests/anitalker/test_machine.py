"""Device, number format and memory."""

import pytest
import torch

from anitalker import machine
from anitalker.config import InputError


def test_auto_prefers_the_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.choose_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert machine.choose_device("auto").type == "cpu"
    with pytest.raises(InputError, match="not usable on this machine; usable are auto, cpu"):
        machine.choose_device("cuda")


def test_only_processors_draw_in_bfloat16():
    assert not machine.draws_in_bfloat16(torch.device("cuda"), 8)
    first = machine.draws_in_bfloat16(torch.device("cpu"), 8)
    assert all(machine.draws_in_bfloat16(torch.device("cpu"), 8) == first for _ in range(5)), "measured again"


def test_peak_memory_is_in_mib():
    """A process with torch in it: more than 50 MiB, less than 50 GiB, and never falling."""
    before = machine.peak_memory()
    assert 50 < before < 50_000
    assert machine.peak_memory() >= before
