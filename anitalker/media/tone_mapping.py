"""HDR (PQ and HLG) and wide colour gamuts -> sRGB, by one curve for pictures and video.

Display light is relative to the reference white of HDR, 203 cd/m2 (ITU-R BT.2408), which becomes the white of sRGB.
Names of primaries and transfer functions are those of ffmpeg.
"""

from __future__ import annotations

import numpy as np

REFERENCE_WHITE = 203.0  # cd/m2 of HDR that equal white of SDR: 75% of HLG, 58% of PQ
PEAK = 1000.0  # cd/m2: the nominal display of HLG and the brightest highlight that is kept apart from white
# Up to this share of white, light is kept as it is, so that a picture without highlights looks like its SDR copy.
KNEE = 0.9
SYSTEM_GAMMA = 1.2  # of HLG on a display of PEAK
HALD_LEVEL = 8  # a table of 64 nodes per channel, drawn as a picture of 512x512
ROWS = 128  # of a picture that are converted at a time: bounds the memory
HDR_TRANSFERS = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
# To BT.709 from other primaries with the white point D65 (linear light).
TO_BT709 = {
    "bt2020": ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730)),
    "smpte432": ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0), (-0.019638, -0.078636, 1.098274)),
}


def needs_conversion(primaries: str | None, transfer: str | None) -> bool:
    """Whether values with these tags differ from sRGB by more than a video and a picture do."""
    return transfer in HDR_TRANSFERS or primaries in TO_BT709


def to_srgb(signal: np.ndarray, primaries: str | None, transfer: str | None) -> np.ndarray:
    """Code values [...,3] in 0..1 -> sRGB values [...,3] in 0..1, float32.

    HDR without primaries counts as BT.2020. Primaries that are not in TO_BT709 are those of sRGB.
    """
    return _encode(_shown_light(_to_light(signal.astype(np.float32), transfer), primaries, transfer))


def convert_pixels(pixels: np.ndarray, primaries: str | None, transfer: str | None) -> np.ndarray:
    """Convert pixels, uint8 or uint16 [H,W,3], to sRGB, uint8 [H,W,3]."""
    white = np.iinfo(pixels.dtype).max
    light = _to_light(np.linspace(0, 1, white + 1, dtype=np.float32), transfer)
    result = np.empty(pixels.shape, np.uint8)
    for row in range(0, len(pixels), ROWS):
        shown = _shown_light(light[pixels[row : row + ROWS]], primaries, transfer)
        result[row : row + ROWS] = np.rint(_encode(shown) * 255)
    return result


def hald_picture(primaries: str | None, transfer: str | None) -> np.ndarray:
    """Compute the conversion to sRGB as a Hald picture, uint16 [512,512,3], for ffmpeg's filter `haldclut`.

    Of pixel n the red value changes fastest, then green, then blue.
    """
    nodes = np.linspace(0, 1, HALD_LEVEL**2, dtype=np.float32)
    blue, green, red = np.meshgrid(nodes, nodes, nodes, indexing="ij")
    colours = to_srgb(np.stack([red, green, blue], -1).reshape(-1, 3), primaries, transfer)
    side = HALD_LEVEL**3
    return np.rint(colours * 65535).astype(np.uint16).reshape(side, side, 3)


def _to_light(signal: np.ndarray, transfer: str | None) -> np.ndarray:
    """Code values -> display light, 1 at the reference white."""
    if transfer == "smpte2084":  # ITU-R BT.2100, table 4
        power = np.maximum(signal, 0) ** (1 / 78.84375)
        light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return light ** (1 / 0.1593017578125) * (10_000 / REFERENCE_WHITE)
    if transfer == "arib-std-b67":
        # ITU-R BT.2100, table 5. The system gamma is applied to each channel, as SDR's own and as zimg does; applied
        # to luminance, as a display does it, colours come out paler than those of an SDR copy.
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((np.maximum(signal, 0.5) - c) / a) + b) / 12)
        return scene**SYSTEM_GAMMA * (PEAK / REFERENCE_WHITE)
    return np.where(signal <= 0.04045, signal / 12.92, ((np.maximum(signal, 0) + 0.055) / 1.055) ** 2.4)


def _shown_light(light: np.ndarray, primaries: str | None, transfer: str | None) -> np.ndarray:
    """Display light -> what a display of sRGB shows of it: other primaries, and HDR's highlights compressed."""
    if primaries is None and transfer in HDR_TRANSFERS:
        primaries = "bt2020"
    if primaries in TO_BT709:
        light = np.maximum(light @ np.array(TO_BT709[primaries], np.float32).T, 0)
    return _tone_map(light) if transfer in HDR_TRANSFERS else light


def _tone_map(light: np.ndarray) -> np.ndarray:
    """Compress what is above KNEE to at most 1, by the largest channel, so that the hue stays.

    Above the knee y = KNEE + x / (1 + x (1/r - 1/p)): slope 1 at the knee and 1 at PEAK (Reinhard et al. 2002,
    extended operator), where x, r and p are the distances of the light, of white and of PEAK from the knee.
    """
    largest = light.max(-1, keepdims=True)
    above = np.minimum(np.maximum(largest, KNEE), PEAK / REFERENCE_WHITE) - KNEE
    rest, span = 1 - KNEE, PEAK / REFERENCE_WHITE - KNEE
    compressed = KNEE + above / (1 + above * (1 / rest - 1 / span))
    return light * np.where(largest > KNEE, compressed / np.maximum(largest, KNEE), 1)


def _encode(light: np.ndarray) -> np.ndarray:
    """Linear light 0..1 -> sRGB values (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
