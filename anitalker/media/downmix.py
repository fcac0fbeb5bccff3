"""Recordings of several channels -> one, by a rule that cannot cancel what is heard.

Letters: N samples, C channels.
"""

from __future__ import annotations

import struct
from typing import IO

import numpy as np

LOW_FREQUENCY = 0x8  # the bit of a subwoofer's channel in the channel mask of a WAV file


class ChannelStatistics:
    """Covariance [C,C] of the channels of a recording, gathered piece by piece."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sums = np.zeros(channels)
        self.products = np.zeros((channels, channels))

    def add(self, samples: np.ndarray) -> None:
        """Add samples [N,C]; NaN and infinity count as silence."""
        values = np.clip(np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0), -1, 1).astype(np.float64)
        self.count += len(values)
        self.sums += values.sum(0)
        self.products += values.T @ values

    def covariance(self) -> np.ndarray:
        """Covariance [C,C], free of a constant offset."""
        mean = self.sums / max(self.count, 1)
        return self.products / max(self.count, 1) - np.outer(mean, mean)


def downmix_weights(covariance: np.ndarray) -> np.ndarray:
    """Covariance [C,C] of the channels -> the weights [C] with which they are added up.

    Every channel gets the sign of its correlation with the loudest channel r, and the sum is scaled to the power of
    r. The sum S cannot cancel: <S, r> = |r|^2 + the absolute values of <c, r> >= |r|^2, so |S| >= |r| (Cauchy and
    Schwarz). Stereo whose right side is the left one inverted, speech on one side, and speech in the centre of 5.1
    all give the speech at its own loudness; two equal channels give their mean.
    """
    power = np.diag(covariance)
    loudest = int(power.argmax())
    if not power[loudest] > 0:  # silence
        return np.full(len(power), 1 / len(power))
    signs = np.where(covariance[loudest] < 0, -1.0, 1.0)
    return signs * np.sqrt(power[loudest] / (signs @ covariance @ signs))


def read_wav_header(stream: IO[bytes]) -> tuple[int, tuple[int, ...]] | None:
    """Read up to the samples of a WAV stream: the number of channels, and which are subwoofers; None where it ends."""
    if len(stream.read(12)) < 12:
        return None
    channels, mask = 0, 0
    while len(head := stream.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            present = [bit for bit in range(32) if mask >> bit & 1][:channels]
            return channels, tuple(n for n, bit in enumerate(present) if 1 << bit == LOW_FREQUENCY)
        chunk = stream.read(size + size % 2)
        if name == b"fmt ":
            channels = struct.unpack_from("<H", chunk, 2)[0]
            mask = struct.unpack_from("<I", chunk, 20)[0] if len(chunk) >= 40 else 0
    return None
