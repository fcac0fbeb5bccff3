"""The error correction of the identifier in the watermark: a tail-biting convolutional code."""

import numpy as np
import pytest

from anitalker.provenance import payload
from anitalker.provenance.convolutional_code import CODE_BITS, TAPS, decode, encode

COPIES = 2  # of each bit
IDENTIFIER = "0123456789abcdef"


def received(identifier, score, seed):
    """Sums of COPIES noisy copies of the bits of an identifier, whose correlation is `score` standard deviations."""
    rng = np.random.default_rng(seed)
    amplitude = score / np.sqrt(COPIES * CODE_BITS)
    return COPIES * amplitude * (1.0 - 2.0 * encode(identifier)) + rng.normal(0, np.sqrt(COPIES), CODE_BITS)


def test_the_code_never_changes():
    """Old videos must be read: the first bytes of the word of one identifier."""
    assert np.packbits(encode(IDENTIFIER)).tobytes().hex()[:32] == "1dff59908f792aea197930a4645eef3b"


def test_the_ends_meet():
    """Tail biting: an identifier that is shifted by a bit around the circle gives a shifted word."""
    number = int(IDENTIFIER, 16)
    turned = f"{(number >> 1 | number << 63) & (2**64 - 1):016x}"
    np.testing.assert_array_equal(encode(turned), np.roll(encode(IDENTIFIER), len(TAPS)))


def test_words_are_far_apart():
    """The code is linear: what tells single bursts of up to 12 bits from nothing tells all words."""
    weights = [int(encode(f"{burst << 20:016x}").sum()) for burst in range(1, 1 << 12)]
    assert min(weights) == 78 and not encode("0" * 16).any()


def test_read_through_noise_that_the_short_code_does_not_stand():
    """At 12 standard deviations; of 128 bits `payload` reads two thirds."""
    names = [f"{number:016x}" for number in np.random.default_rng(0).integers(0, 2**63, 12)]
    read = [decode(received(name, 12.5, seed), COPIES) for seed, name in enumerate(names)]
    assert sum(a == b for a, b in zip(read, names, strict=True)) >= 11
    assert set(read) <= {None, *names}
    assert CODE_BITS == 5 * payload.CODE_BITS


@pytest.mark.parametrize("score", [0, 6])
def test_nothing_is_read_from_noise(score):
    """Rather nothing than a wrong identifier."""
    assert [decode(received(IDENTIFIER, score, seed), COPIES) for seed in range(6)] == [None] * 6
