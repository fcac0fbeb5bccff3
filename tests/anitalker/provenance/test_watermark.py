"""The watermark: invisible by the numbers, found and read after what happens to videos, never found elsewhere."""

import numpy as np
import pytest
from PIL import Image

from anitalker.media.images import read_picture
from anitalker.provenance import watermark, watermark_phases
from anitalker.provenance.watermark import Watermarker
from anitalker.provenance.watermark_key import (
    FIRST_KEY,
    KEY,
    SECOND_KEY,
    Key,
    chip_bits,
    marked_phases,
    pattern,
    spectrum,
)
from anitalker.provenance.watermark_search import FALSE_ALARM_PROBABILITY, PLACES, THRESHOLD, WHOLE_THRESHOLD, detect

IDENTIFIER = "0123456789abcdef"


def picture(height=256, width=256, seed=0):
    """Something like a photograph: noise with a 1/f spectrum, uint8 [H,W,3]."""
    rng = np.random.default_rng(seed)
    plane = np.fft.rfft2(rng.standard_normal((height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    grey = np.fft.irfft2(plane / np.maximum(frequency, 1 / max(height, width)), (height, width))
    return np.repeat((128 + 40 * grey / grey.std()).clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def resized(frame, width, height):
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [(256, 256), (97, 64), (900, 1400)])
def test_marks_are_faint(size):
    """Above 42 dB in photographs, noise, black and white; the same mark in every frame."""
    rng = np.random.default_rng(1)
    for frame in (picture(*size), rng.integers(0, 256, (*size, 3), np.uint8), np.zeros((*size, 3), np.uint8)):
        mark = Watermarker()
        marked, again = mark(frame), mark(frame)
        error = np.mean((marked.astype(float) - frame) ** 2)
        assert 0.1 < error < 255**2 / 10**4.2
        assert (marked == again).all() and marked.dtype == np.uint8


@pytest.mark.parametrize("window", [9, 63])
def test_the_mean_is_scipys(window):
    from scipy.ndimage import uniform_filter

    rng = np.random.default_rng(2)
    for shape in ((40, 57), (5, 90)):  # windows larger than the picture too
        grey = (rng.random(shape) * 255).astype(np.float32)
        np.testing.assert_allclose(watermark_phases.box_mean(grey, window), uniform_filter(grey, window), atol=1e-3)


def test_texture_hides_more_than_edges_do():
    """The mark is weak on plain walls, stronger in texture, and in between at an edge; never too strong as a whole."""
    rng = np.random.default_rng(3)
    plain, edge, texture = np.full((3, 512, 512), 100, np.float32)
    edge[:, 128:] = 200
    texture += 30 * rng.standard_normal(texture.shape).astype(np.float32)
    weak, between, strong = (watermark.strength(grey, 9)[100, 124] for grey in (plain, edge, texture))
    assert 1 < weak < 1.1 and weak + 0.2 < between < strong
    assert np.sqrt(np.mean(watermark.strength(texture, 9) ** 2)) == pytest.approx(watermark.MAX_RMS, abs=0.02)
    half = np.concatenate([plain[:, :256], texture[:, :256]], 1)
    assert watermark.strength(half, 9)[100, 400] > strong + 0.1, "there is room where the rest is plain"


def test_small_pictures_have_a_stronger_mark():
    """They have fewer pixels that carry it: 1.45 grey levels at 256 pixels, 1.05 from 512 on, in between in between."""
    plain = {side: watermark.strength(np.full((side, 600), 90, np.float32), 9).mean() for side in (200, 384, 512, 600)}
    assert plain == pytest.approx({200: 1.45, 384: 1.25, 512: 1.05, 600: 1.05}, abs=0.01)


def test_no_wrap_around():
    frame = np.random.default_rng(0).choice(np.array([0, 1, 254, 255], np.uint8), (64, 64, 3))
    assert np.abs(Watermarker()(frame).astype(int) - frame).max() <= 12


ATTACKS = {
    "as made": lambda f: f,
    "half size": lambda f: resized(f, 128, 128),
    "crop to 80%": lambda f: f[17:222, 31:236],
    "crop, enlarged": lambda f: resized(f[17:222, 31:236], 256, 256),
    "twice the size": lambda f: resized(f, 512, 512),
    "mirrored": lambda f: f[:, ::-1],
    "screenshot at 1.5": lambda f: resized(f, 384, 384),
    "brighter": lambda f: (f * 0.7 + 60).astype(np.uint8),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_found_after(attack, example_portrait):
    marked = ATTACKS[attack](Watermarker(IDENTIFIER)(read_picture(example_portrait)))
    detection = detect([np.ascontiguousarray(marked)])
    assert detection.found and detection.score > THRESHOLD
    assert detection.mirrored == (attack == "mirrored")
    assert detection.identifier == IDENTIFIER


@pytest.mark.slow
def test_large_pictures_at_any_size():
    """Cells grow with the picture: 1600 pixels, shown at 400."""
    frame = Watermarker()(picture(1600, 1600))
    assert detect([frame]).found
    assert detect([resized(frame, 400, 400)]).found


@pytest.mark.parametrize("seed", range(4))
def test_not_found_where_it_is_not(seed):
    assert not detect([picture(seed=seed + 10)]).found


def test_plain_pictures_and_nothing():
    assert not detect([np.full((128, 128, 3), 77, np.uint8)]).found
    assert detect([]).score == 0


def test_another_key_is_another_mark():
    """The key decides: what was marked with another one is not found."""
    rows, _, _ = spectrum(KEY)
    numbers = np.random.default_rng(1).random(len(rows))
    frame = picture()
    tile = pattern(1, KEY, np.exp(2j * np.pi * numbers))
    assert not detect([(frame + 2 * tile[..., None]).clip(0, 255).astype(np.uint8)]).found


def test_old_marks_are_found():
    """Versions before 0.2 wrote a mark that carries no identifier."""
    tile = np.tile(pattern(1, FIRST_KEY, spectrum(FIRST_KEY)[2]), (2, 2))
    detection = detect([(picture() + 2.5 * tile[..., None]).clip(0, 255).astype(np.uint8)])
    assert detection.found and detection.identifier is None


def test_marks_of_the_second_key_are_read(example_portrait):
    frame = resized(read_picture(example_portrait), 256, 256)
    tile = np.tile(pattern(1, SECOND_KEY, marked_phases(SECOND_KEY, IDENTIFIER)), (2, 2))
    detection = detect([(frame + 1.9 * tile[..., None]).clip(0, 255).astype(np.uint8)])
    assert detection.found and detection.identifier == IDENTIFIER


def test_what_is_too_faint_for_the_search_is_found_by_its_identifier(monkeypatch, example_portrait):
    """A score between those of a candidate and of a find; the whole mark with its identifier is certain."""
    monkeypatch.setattr("anitalker.provenance.watermark_search.THRESHOLD", 100.0)
    detection = detect([Watermarker(IDENTIFIER)(read_picture(example_portrait))])
    assert detection.found and detection.identifier == IDENTIFIER
    assert detection.score > detection.threshold == WHOLE_THRESHOLD


@pytest.mark.parametrize(
    ("key", "first"),
    [(KEY, [-0.4059, 2.4018, 1.1532]), (SECOND_KEY, [2.6901, -0.3514, -0.4005]), (FIRST_KEY, [1.736, -1.778, -1.164])],
    ids=["new", "second", "first"],
)
def test_the_pattern_never_changes(key: Key, first):
    """Old videos must be found and read: the key's first phases, and the tile that they make."""
    phases = spectrum(key)[2]
    assert [round(float(np.angle(phase)), 4) for phase in phases[:3]] == first
    assert pattern(1, key, phases).shape == (key.tile, key.tile) and abs(pattern(1, key, phases).std() - 1) < 1e-5


@pytest.mark.parametrize(
    ("key", "first", "copies"),
    [
        (KEY, [281, 180, 574, 368, 218, 164, 422, 2], 2),
        (SECOND_KEY, [121, 111, 122, 54, 110, 49, 60, 52], 4),
    ],
)
def test_which_frequency_carries_which_bit_never_changes(key: Key, first, copies):
    assert chip_bits(key)[:8].tolist() == first
    assert np.bincount(chip_bits(key)).min() == copies, "every bit is repeated over the ring"


@pytest.mark.slow
def test_scores_without_the_mark_are_those_of_chance():
    """Single places of the search over noise: mean 0, deviation 1, as the false alarm rate assumes."""
    scores = [detect([picture(64, 64, seed)]).score for seed in range(3)]
    expected = np.sqrt(2 * np.log(PLACES))  # of the largest of so many normal numbers: 6.0
    assert expected - 1.9 < np.mean(scores) < expected + 0.3
    assert FALSE_ALARM_PROBABILITY < 1e-3
