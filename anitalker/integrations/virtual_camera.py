"""A live face as a camera of this machine, for meetings: `pip install pyvirtualcam`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from anitalker.config import FPS, InputError
from anitalker.streaming.live_face import LiveFace

if TYPE_CHECKING:
    from pyvirtualcam import Camera  # pyright: ignore[reportMissingImports] (the user installs it)


def open_camera(width: int, height: int, device: str | None = None, backend: str | None = None) -> Camera:
    """Open a virtual camera for frames of this size.

    device, backend: as pyvirtualcam.Camera takes them; None: the first that works. InputError where pyvirtualcam is not
    installed, or the system has no virtual camera.
    """
    try:
        import pyvirtualcam  # pyright: ignore[reportMissingImports] (the user installs it)
    except ImportError:
        raise InputError("a virtual camera needs pyvirtualcam; install it: pip install pyvirtualcam") from None
    try:
        return pyvirtualcam.Camera(width=width, height=height, fps=FPS, device=device, backend=backend)
    except (RuntimeError, KeyError) as error:  # KeyError: a backend of another system
        reason = " ".join(str(error).split())
        raise InputError(
            f"no virtual camera can be used ({reason}); load v4l2loopback on Linux, or start OBS's on Windows and macOS"
        ) from None


def show_on_camera(
    face: LiveFace,
    device: str | None = None,
    backend: str | None = None,
    play: Callable[[np.ndarray], None] | None = None,
) -> int:
    """Send the frames of a started face to a virtual camera until the face is closed; returns their number.

    play: is called with each frame's sound, float32 [640] at 16 kHz, before the frame is sent, such as `write` of an
    audio device that the meeting takes as its microphone. The frames' size is that of the first. InputError as for
    `open_camera`.
    """
    camera, count = None, 0
    try:
        for picture, sound in face.frames():
            if camera is None:
                camera = open_camera(picture.shape[1], picture.shape[0], device, backend)
            if play is not None:
                play(sound)
            camera.send(np.ascontiguousarray(picture))
            count += 1
    finally:
        if camera is not None:
            camera.close()
    return count
