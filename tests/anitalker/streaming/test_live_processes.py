"""Processes that draw for live faces: the same pictures as in this process, and what happens when one of them dies."""

import os

import numpy as np
import pytest
import torch

from anitalker.config import RenderOptions
from anitalker.provenance.marks import frame_filters
from anitalker.streaming.live_face import LiveFace
from anitalker.streaming.live_networks import FaceNetworks
from anitalker.streaming.live_processes import LiveProcesses, default_count
from anitalker.streaming.talker import StreamingTalker

OPTIONS = RenderOptions(frame="crop", steps=1)
SPEECH = (0.3 * np.sin(np.arange(16_000) * 0.3)).astype(np.float32)


@pytest.fixture(scope="module")
def processes(untrained_model, fixed_finder):
    from anitalker import pipeline

    talker = pipeline.load(untrained_model, "cpu")
    talker._finders["own"] = fixed_finder()
    processes = LiveProcesses(talker, 1)
    processes.talker = talker
    yield processes
    processes.close()


@pytest.fixture
def stream(processes, example_portrait):
    return StreamingTalker(processes.talker, processes.talker.portrait(example_portrait), OPTIONS)


def end_process(frame):
    os._exit(1)


def refuse(frame):
    raise ValueError("this filter takes no frames")


def test_there_is_one_per_core_up_to_four_and_none_beside_a_graphics_card():
    assert 1 <= default_count(torch.device("cpu")) <= 4
    assert default_count(torch.device("cuda")) == 0


@pytest.mark.slow
def test_motion_and_pictures_are_those_of_this_process(processes, stream, example_portrait):
    filters = frame_filters(256, 256, label=True, watermark=True)
    remote = processes.open(stream, filters)
    motions = [remote.motion(SPEECH[:8000])[0], remote.motion(SPEECH[8000:])[0]]
    picture = remote.draw([motions[0][-1:]])
    remote.close()

    local = FaceNetworks(
        StreamingTalker(stream.talker, stream.talker.portrait(example_portrait), OPTIONS),
        frame_filters(256, 256, label=True, watermark=True, identifier=filters[1].identifier),
    )
    for samples, motion in zip((SPEECH[:8000], SPEECH[8000:]), motions, strict=True):
        torch.testing.assert_close(motion, local.motion(samples)[0])
    expected = local.draw([motions[0][-1:]])
    assert picture.shape == (256, 256, 3) and np.abs(picture.astype(int) - expected).max() <= 1


@pytest.mark.slow
def test_a_fault_there_is_raised_here_and_the_next_face_is_drawn(processes, stream):
    broken = processes.open(stream, (refuse,))
    motion = stream.motion(SPEECH)[0]
    with pytest.raises(ValueError, match="takes no frames"):
        broken.draw([motion[:1]])
    broken.close()
    assert processes.open(stream, ()).draw([motion[:1]]).shape == (256, 256, 3)


@pytest.mark.slow
def test_a_face_goes_on_when_a_process_dies(processes, stream):
    face = LiveFace(processes.talker, stream.portrait, OPTIONS, processes=processes)
    with face:
        pictures = face.frames()
        next(pictures)
        for process in processes._drawing + processes._motion:
            process.process.kill()
        assert all(next(pictures)[0].shape == (256, 256, 3) for _ in range(5))
        new = [process.process.pid for process in processes._drawing + processes._motion]
    assert face.fault is None and len(set(new)) == 2


@pytest.mark.slow
def test_a_request_that_ends_every_process_ends_the_face(processes, stream):
    deadly = processes.open(stream, (end_process,))
    with pytest.raises(RuntimeError, match="ended twice at the same request"):
        deadly.draw([stream.motion(SPEECH)[0][:1]])
    deadly.close()


def test_a_face_that_nobody_closes_is_forgotten_with_its_last_reference(processes, stream):
    face = processes.open(stream, ())
    assert len(processes._open) == 2
    del face
    assert not processes._open


@pytest.mark.slow
def test_closed_faces_are_forgotten_with_the_next_request(processes, stream):
    first, second = processes.open(stream, ()), processes.open(stream, ())
    motion = stream.motion(SPEECH)[0]
    for face in (first, second):
        face.draw([motion[:1]])
    held = set(processes._drawing[0].held)
    first.close()
    second.draw([motion[:1]])
    assert len(held - processes._drawing[0].held) >= 1 and second._drawing.number in processes._drawing[0].held
