"""The error correction of the identifier."""

import numpy as np
import pytest

from anitalker.provenance.payload import CODE_BITS, decode, encode, new_identifier

COPIES = 5  # of each bit


def received(identifier, score, seed):
    """Sums of COPIES noisy copies of the bits of an identifier, whose correlation is `score` standard deviations."""
    rng = np.random.default_rng(seed)
    amplitude = score / np.sqrt(COPIES * CODE_BITS)
    return COPIES * amplitude * (1.0 - 2.0 * encode(identifier)) + rng.normal(0, np.sqrt(COPIES), CODE_BITS)


def test_identifiers_are_64_random_bits():
    identifiers = {new_identifier() for _ in range(50)}
    assert len(identifiers) == 50 and all(len(bytes.fromhex(text)) == 8 for text in identifiers)


def test_the_code_never_changes():
    """Old videos must be read: the word of one identifier, data first."""
    assert np.packbits(encode("0123456789abcdef")).tobytes().hex() == "0123456789abcdef650930fdea0495da"


def test_words_are_far_apart():
    single = [encode(f"{1 << bit:016x}") for bit in range(64)]
    distances = [int((a ^ b).sum()) for n, a in enumerate(single) for b in single[:n]]
    assert min(distances) >= 9 and not encode("0" * 16).any()


def test_read_through_noise():
    """About one bit in fifteen is wrong; most words are still read, and none wrongly."""
    identifiers = [f"{number:016x}" for number in np.random.default_rng(0).integers(0, 2**63, 24)]
    softs = [received(identifier, 15, seed) for seed, identifier in enumerate(identifiers)]
    wrong = [((soft < 0) != encode(name)).mean() for soft, name in zip(softs, identifiers, strict=True)]
    assert 0.04 < np.mean(wrong) < 0.12
    read = [decode(soft, COPIES) for soft in softs]
    assert sum(a == b for a, b in zip(read, identifiers, strict=True)) >= 18
    assert set(read) <= {None, *identifiers}


@pytest.mark.parametrize("score", [0, 6])
def test_nothing_is_read_from_noise(score):
    """Rather nothing than a wrong identifier."""
    assert [decode(received("0123456789abcdef", score, seed), COPIES) for seed in range(6)] == [None] * 6
