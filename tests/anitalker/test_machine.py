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


def test_frames_at_once_follow_a_cards_free_memory(monkeypatch):
    card, free = torch.device("cuda"), {"GiB": 1000}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free["GiB"] * 2**30, 2**40))
    assert machine.frames_at_once(card) == machine.MOST_FRAMES and machine.frames_at_once(card, 5) == 5
    free["GiB"] = 4
    assert machine.frames_at_once(card) == 8
    free["GiB"] = 0
    assert machine.frames_at_once(card) == 1
    assert machine.frames_at_once(torch.device("cpu")) == machine.FRAMES


def test_only_processors_draw_in_bfloat16():
    assert not machine.draws_in_bfloat16(torch.device("cuda"), 8)
    first = machine.draws_in_bfloat16(torch.device("cpu"), 8)
    assert all(machine.draws_in_bfloat16(torch.device("cpu"), 8) == first for _ in range(5)), "measured again"


def test_peak_memory_is_in_mib():
    """A process with torch in it: more than 50 MiB, less than 50 GiB, and never falling."""
    before = machine.peak_memory()
    assert 50 < before < 50_000
    assert machine.peak_memory() >= before
