"""Shared fixtures: small inputs made on the spot, an untrained model, and a face that is always found."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """Mono samples in -1..1 as a 16 bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def example_portrait() -> Path:
    return ROOT / "app/examples/portrait.webp"


@pytest.fixture(scope="session")
def make_wav():
    return write_wav


@pytest.fixture(scope="session")
def clicks(tmp_path_factory) -> Path:
    """1.03 s: silence with short bursts at 0.2, 0.5 and 0.8 s; not a whole number of frames."""
    samples = np.zeros(int(1.03 * 16_000))
    for start in (0.2, 0.5, 0.8):
        at = int(start * 16_000)
        samples[at : at + 160] = 0.8 * np.sin(np.arange(160) * 0.9)
    return write_wav(tmp_path_factory.mktemp("speech") / "clicks.wav", samples)


@pytest.fixture(autouse=True)
def seeded():
    np.random.seed(0)
