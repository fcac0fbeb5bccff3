"""A live face on pyvirtualcam's own Camera, with a backend that is registered for the test."""

import sys
import threading
from typing import ClassVar

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.integrations.virtual_camera import show_on_camera


class Face:
    """Three frames, each with its sound."""

    def frames(self):
        for number in range(3):
            yield np.full((4, 6, 3), number, np.uint8), np.full(640, number, np.float32)


@pytest.fixture
def backend():
    pyvirtualcam = pytest.importorskip("pyvirtualcam")

    class Backend:
        """Keeps what it is sent."""

        opened: ClassVar[list] = []

        def __init__(self, **options):
            self.options, self.sent, self.closed = options, [], threading.Event()
            self.opened.append(self)

        def send(self, frame):
            self.sent.append(frame.copy())

        def close(self):
            self.closed.set()

        def device(self):
            return "test"

        def native_fourcc(self):
            return None

    pyvirtualcam.register_backend("test", Backend)
    return Backend


def test_frames_and_their_sound_arrive_and_the_camera_is_closed(backend):
    played = []
    assert show_on_camera(Face(), backend="test", play=played.append) == 3
    (camera,) = backend.opened
    assert (camera.options["width"], camera.options["height"], camera.options["fps"]) == (6, 4, 25)
    assert [frame[0] for frame in camera.sent] == [0, 1, 2] == [int(sound[0]) for sound in played]
    assert all(frame.size == 72 for frame in camera.sent) and camera.closed.is_set()


def test_a_fault_closes_the_camera(backend):
    with pytest.raises(ZeroDivisionError):
        show_on_camera(Face(), backend="test", play=lambda sound: 1 / 0)
    assert backend.opened[-1].closed.is_set()


@pytest.mark.parametrize("fault", [RuntimeError("no\ndevice"), KeyError("obs")])
def test_a_machine_without_a_camera_is_told(backend, monkeypatch, fault):
    def refuse(**options):
        raise fault

    monkeypatch.setattr("pyvirtualcam.Camera", refuse)
    with pytest.raises(InputError, match="no virtual camera can be used") as told:
        show_on_camera(Face())
    assert "\n" not in str(told.value)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(InputError, match="pip install pyvirtualcam"):
        show_on_camera(Face())
