"""HDR and wide gamuts -> sRGB: reference white is white, SDR levels stay, one curve for table and pixels."""

import numpy as np
import pytest

from anitalker.media.tone_mapping import convert_pixels, hald_picture, needs_conversion, to_srgb

PQ, HLG = "smpte2084", "arib-std-b67"


def pq(nits):
    """ITU-R BT.2100: cd/m2 -> PQ signal."""
    power = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits):
    """cd/m2 of a display of 1000 -> HLG signal."""
    scene = (nits / 1000) ** (1 / 1.2)
    return np.sqrt(3 * scene) if scene <= 1 / 12 else 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073


def srgb_light(value):
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


@pytest.mark.parametrize(("signal", "transfer"), [(pq, PQ), (hlg, HLG)])
def test_grey_levels_come_back(signal, transfer):
    """What an SDR picture shows at the reference white of HDR looks the same; white loses 6 of 255 to highlights."""
    for level in (0, 10, 60, 128, 200, 240):
        grey = np.full((1, 3), signal(203 * srgb_light(level / 255)))
        np.testing.assert_allclose(255 * to_srgb(grey, "bt2020", transfer), level, atol=0.7)
    white = 255 * to_srgb(np.full((1, 3), signal(203.0)), "bt2020", transfer)
    assert white.min() > 247 and white.max() < 251
    np.testing.assert_allclose(to_srgb(np.full((1, 3), signal(1000.0)), "bt2020", transfer), 1, atol=2e-3)


def test_known_values():
    """BT.2408: reference white is 58% of PQ and 75% of HLG."""
    assert pq(203) == pytest.approx(0.58, abs=0.002) and hlg(203) == pytest.approx(0.75, abs=0.003)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_brighter_is_never_darker(transfer):
    ramp = np.linspace(0, 1, 1001)[:, None].repeat(3, 1)
    result = to_srgb(ramp, "bt2020", transfer)
    assert (np.diff(result[:, 0]) >= -1e-6).all() and result.min() >= 0 and result.max() <= 1


def test_the_hue_of_a_highlight_stays():
    orange = to_srgb(np.array([[hlg(900), hlg(450), hlg(90)]]), "bt709", HLG)[0]
    light = [srgb_light(value) for value in orange]
    assert light[0] / light[1] == pytest.approx(2, rel=0.02) and light[0] / light[2] == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("primaries", ["bt2020", "smpte432"])
def test_wide_gamuts_of_sdr(primaries):
    """White and grey stay to the level, nothing is compressed, and red becomes redder."""
    grey = np.full((1, 3), 0.5, np.float32)
    np.testing.assert_allclose(to_srgb(grey, primaries, "bt709"), 0.5, atol=1e-3)
    np.testing.assert_allclose(to_srgb(np.ones((1, 3)), primaries, None), 1, atol=1e-3)
    red = to_srgb(np.array([[0.7, 0.4, 0.3]]), primaries, "bt709")[0]
    assert red[0] > 0.72 and red[1] < 0.39


def test_corners_of_srgb_in_display_p3():
    """CSS Color 4: color(display-p3 0.9175 0.2003 0.1386) is sRGB's red, 0.4584 0.9853 0.2983 its green."""
    p3 = np.array([[0.9175, 0.2003, 0.1386], [0.4584, 0.9853, 0.2983]])
    np.testing.assert_allclose(to_srgb(p3, "smpte432", None), [[1, 0, 0], [0, 1, 0]], atol=0.02)


def test_what_is_converted():
    assert needs_conversion("bt2020", PQ) and needs_conversion(None, HLG) and needs_conversion("smpte432", None)
    assert not needs_conversion("bt709", "bt709") and not needs_conversion(None, None)
    assert not needs_conversion("smpte170m", "iec61966-2-1")


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_pixels_are_converted_by_the_same_curve(depth):
    """More rows than are converted at a time."""
    pixels = np.random.default_rng(0).integers(0, np.iinfo(depth).max + 1, (300, 4, 3)).astype(depth)
    result = convert_pixels(pixels, "bt2020", PQ)
    expected = to_srgb(pixels / np.iinfo(depth).max, "bt2020", PQ) * 255
    assert result.dtype == np.uint8 and np.abs(result - expected).max() <= 0.51


def test_the_table_for_ffmpeg():
    """Red changes fastest. The node of a colour holds what the curve gives."""
    table = hald_picture("bt2020", HLG)
    assert table.shape == (512, 512, 3) and table.dtype == np.uint16
    red, green, blue = 20, 33, 41
    node = table.reshape(-1, 3)[red + 64 * green + 4096 * blue] / 65535
    np.testing.assert_allclose(node, to_srgb(np.array([red, green, blue]) / 63, "bt2020", HLG), atol=1e-4)
