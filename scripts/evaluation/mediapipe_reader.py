"""Landmarks by MediaPipe's face mesh, a second opinion on lips: another network than the project's.

It reads the same 468 points. The package is no dependency: install a version whose wheel holds `solutions.face_mesh`
(0.10.14 does), which needs protobuf 4.
"""

from __future__ import annotations

import numpy as np

from anitalker.config import InputError


class MediaPipeReader:
    """Frames uint8 [T,H,W,3] in their order -> points float32 [T,468,3] in crop units. A frame without a face gets
    those of the frame before, zeros at the start. InputError where the package is missing."""

    def __init__(self) -> None:
        try:
            from mediapipe.python.solutions.face_mesh import FaceMesh
        except ImportError as error:
            raise InputError(
                f"--landmarks mediapipe: no face mesh to import ({error}); run pip install mediapipe==0.10.14"
            ) from None
        self._mesh = FaceMesh

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        points = np.zeros((len(frames), 468, 3), np.float32)
        with self._mesh(static_image_mode=False, max_num_faces=1) as mesh:
            for n, frame in enumerate(frames):
                faces = mesh.process(np.ascontiguousarray(frame)).multi_face_landmarks
                points[n] = [(p.x, p.y, p.z) for p in faces[0].landmark] if faces else points[max(n - 1, 0)]
        return points
