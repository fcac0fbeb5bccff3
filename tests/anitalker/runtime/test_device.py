"""Device, number format and memory."""

import os
from types import SimpleNamespace

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


def test_frames_at_once_follow_a_cards_free_memory(monkeypatch):
    card, free = torch.device("cuda"), {"GiB": 1000}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free["GiB"] * 2**30, 2**40))
    assert device.frames_at_once(card) == device.MOST_FRAMES and device.frames_at_once(card, 5) == 5
    free["GiB"] = 4
    assert device.frames_at_once(card) == 8
    free["GiB"] = 0
    assert device.frames_at_once(card) == 1
    assert device.frames_at_once(torch.device("cpu")) == device.FRAMES


def test_what_draws_in_bfloat16(monkeypatch):
    """Cards that multiply in it, processors where it is quicker, nothing else."""
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


@pytest.mark.parametrize("refused", [0, -2])
def test_memory_that_a_thread_frees_is_kept_for_it(monkeypatch, refused):
    """glibc is told what malloc.h numbers -1 (trim), -2 (top pad), -3 (mmap); a library may refuse, or have no word."""
    told = {}

    def mallopt(setting, value):
        told[setting] = value
        return int(setting != refused)

    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(device.sys, "platform", "linux")
    monkeypatch.setattr(device.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    assert device.tune_malloc() == (not refused)
    assert told == {-1: device.KEPT, -2: device.ROOM, -3: device.LARGEST}
    monkeypatch.setattr(device.ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not device.tune_malloc()


def test_whoever_has_set_the_c_librarys_memory_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not device.tune_malloc()
