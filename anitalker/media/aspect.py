"""Other proportions for a finished picture: it stays whole, and a blurred, larger copy of it fills what is around."""

from __future__ import annotations

import math

import cv2
import numpy as np

from anitalker.config import ORIGINAL_SIZE

BLUR_SHARE = 0.06  # standard deviation of the blur, of the canvas's shorter side
BRIGHTNESS = 0.75  # of the copy, so that the picture stands out
COARSE_SIDE = 96  # pixels of the copy's shorter side while it is blurred: that is quick, and nobody sees it


class Extension:
    """Puts frames, uint8 [height,width,3 or 4], onto a canvas of an aspect such as `9:16`, in its middle.

    The canvas is as small as the picture allows, with even sides: width and height. size: as in RenderOptions; a canvas
    whose shorter side would be longer, and the picture in it, are reduced.
    """

    def __init__(self, width: int, height: int, aspect: str, size: int | str = ORIGINAL_SIZE) -> None:
        across, up = map(int, aspect.split(":"))
        scale = max(width / across, height / up)  # pixels per unit
        if size != ORIGINAL_SIZE:
            scale = min(scale, int(size) / min(across, up))
        self.width, self.height = (2 * math.ceil(round(scale * side / 2, 6)) for side in (across, up))
        fit = min(1.0, self.width / width, self.height / height)
        self._inner = min(self.width, round(fit * width)), min(self.height, round(fit * height))
        self._left, self._top = (self.width - self._inner[0]) // 2, (self.height - self._inner[1]) // 2
        coarse = COARSE_SIDE / min(self.width, self.height)
        self._coarse = max(2, round(coarse * self.width)), max(2, round(coarse * self.height))
        # The middle of the picture that has the canvas's aspect.
        part = min(width / self.width, height / self.height)
        wide, high = max(1, round(part * self.width)), max(1, round(part * self.height))
        left, top = (width - wide) // 2, (height - high) // 2
        self._middle = slice(top, top + high), slice(left, left + wide)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the extended frame, uint8, of the canvas's size."""
        if frame.shape[:2] == (self.height, self.width):
            return frame
        if frame.shape[:2] != self._inner[::-1]:
            inner = cv2.resize(frame, self._inner, interpolation=cv2.INTER_AREA)
        else:
            inner = frame
        (wide, high), left, top = self._inner, self._left, self._top
        if frame.shape[-1] == 4:  # with alpha: what is around it is transparent
            canvas = np.zeros((self.height, self.width, 4), np.uint8)
            canvas[top : top + high, left : left + wide] = inner
            return canvas
        copy = cv2.resize(frame[self._middle], self._coarse, interpolation=cv2.INTER_AREA)
        copy = cv2.convertScaleAbs(cv2.GaussianBlur(copy, (0, 0), BLUR_SHARE * COARSE_SIDE), alpha=BRIGHTNESS)
        canvas = cv2.resize(copy, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        canvas[top : top + high, left : left + wide] = inner
        return canvas
