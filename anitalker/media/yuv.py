"""Frames as the encoder stores them: 8 bits of luma and, at half the resolution, of chroma (YUV 4:2:0).

The matrix is that of BT.709 in limited range (ITU-R BT.709-6, 3.2 to 3.5), and chroma lies at the left one of the two
columns that it covers and between its two rows, as H.264 and HEVC have it unless they say otherwise.

Letters: H x W pixels, both even. The planes of a frame are uint8 [3H/2,W]: the luma, then the two planes of chroma,
each [H/2,W/2], one after the other; ffmpeg calls that yuv420p.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

TILE_ROWS = 128  # of a frame at a time, so that they stay in the processor's cache; an even number
# In units of 1/1024, in which OpenCV computes with 8-bit pixels. Rows of chroma sum to 0: grey has none.
RGB_TO_YUV = np.array([[187, 629, 63, 16384], [-103, -347, 450, 131072], [450, -409, -41, 131072]], np.float32) / 1024
YUV_TO_RGB = np.array(
    [[1192, 0, 1836, -254080], [1192, -218, -546, 78720], [1192, 2163, 0, -295936]], np.float32
) / 1024  # fmt: skip


@dataclass(frozen=True)
class FilmedFrame:
    """A frame of a video that is changed: rgb uint8 [H,W,3], and the planes that it was made of, None where the video
    does not have them."""

    rgb: np.ndarray
    planes: np.ndarray | None = None


def split_planes(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Views of planes uint8 [3H/2,W], contiguous: luma [H,W] and chroma [2,H/2,W/2]."""
    rows, width = planes.shape
    height = rows * 2 // 3
    return planes[:height], planes[height:].reshape(2, height // 2, width // 2)


def rgb_to_yuv420(frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the planes uint8 [3H/2,W] of a frame uint8 [H,W,3]; out: an array for them.

    Chroma is the mean over two rows of columns in the proportion 1:2:1 about its own.
    """
    height, width = frame.shape[:2]
    planes = np.empty((height * 3 // 2, width), np.uint8) if out is None else out
    luma, chroma = split_planes(planes)
    for start in range(0, height, TILE_ROWS):
        rows, half = slice(start, start + TILE_ROWS), slice(start // 2, (start + TILE_ROWS) // 2)
        luma[rows], *full = cv2.split(cv2.transform(frame[rows], RGB_TO_YUV))
        for plane, target in zip(full, chroma[:, half], strict=True):
            before = np.concatenate([plane[:, :1], plane[:, :-1]], 1)
            cv2.addWeighted(_halved(before), 0.5, _halved(plane), 0.5, 0, target)
    return planes


def yuv420_to_rgb(planes: np.ndarray) -> np.ndarray:
    """Return the frame uint8 [H,W,3] of planes uint8 [3H/2,W]; chroma is interpolated linearly."""
    luma, chroma = split_planes(planes)
    u, v = (_doubled(plane) for plane in chroma)
    frame = np.empty((*luma.shape, 3), np.uint8)
    for start in range(0, len(luma), TILE_ROWS):
        rows = slice(start, start + TILE_ROWS)
        cv2.transform(cv2.merge([luma[rows], u[rows], v[rows]]), YUV_TO_RGB, frame[rows])
    return frame


def _halved(pixels: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels: uint8 [h,w] or [h,w,3] -> half as many rows and columns."""
    height, width = pixels.shape[:2]
    return cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def _doubled(plane: np.ndarray) -> np.ndarray:
    """Chroma uint8 [h,w] at the pixels of the luma, [2h,2w]."""
    height, width = plane.shape
    tall = cv2.resize(plane, (width, 2 * height), interpolation=cv2.INTER_LINEAR)
    after = np.concatenate([tall[:, 1:], tall[:, -1:]], 1)
    return cv2.merge([tall, cv2.addWeighted(tall, 0.5, after, 0.5, 0)]).reshape(2 * height, 2 * width)


def keep_filmed(frame: np.ndarray, filmed: FilmedFrame, out: np.ndarray | None = None) -> np.ndarray:
    """Return the planes of a changed frame uint8 [H,W,3]: the filmed ones in all blocks of 2 x 2 pixels that did not
    change. out: an array for them."""
    if filmed.planes is None:
        return rgb_to_yuv420(frame, out)
    planes = np.empty_like(filmed.planes) if out is None else out
    planes[:] = filmed.planes
    change = cv2.absdiff(frame, filmed.rgb)
    height, width = change.shape[:2]
    x, y, wide, high = cv2.boundingRect(change.reshape(height, 3 * width))
    if not high:
        return planes
    rows, columns = slice(y // 2 * 2, -(-(y + high) // 2) * 2), slice(x // 6 * 2, -(-(x + wide) // 6) * 2)
    margin = 2 if columns.start else 0  # chroma looks at the column before
    new = rgb_to_yuv420(frame[rows, columns.start - margin : columns.stop])
    blocks = cv2.threshold(change[rows, columns], 0, 255, cv2.THRESH_BINARY)[1]
    red, green, blue = cv2.split(_halved(blocks))
    blocks = cv2.bitwise_or(cv2.bitwise_or(red, green), blue)
    luma, chroma = split_planes(planes)
    new_luma, new_chroma = split_planes(new)
    pixels = cv2.resize(blocks, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    cv2.copyTo(new_luma[:, margin:], pixels, luma[rows, columns])
    half = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
    for target, source in zip(chroma, new_chroma, strict=True):
        cv2.copyTo(source[:, margin // 2 :], blocks, target[half])
    return planes
