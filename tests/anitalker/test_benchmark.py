"""The benchmark: it keeps to its budget whatever a frame costs, and leaves out what does not fit."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anitalker import benchmark
from anitalker.config import InputError


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what is added to it."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now.seconds)
    monkeypatch.setattr(benchmark.time, "process_time", lambda: 2 * now.seconds)
    return now


class SlowTalker:
    """Draws a frame in `cost` seconds for each 256x256 pixels of it, on a clock that is not real."""

    name, device = "slow", torch.device("cpu")
    model = SimpleNamespace(number_format="float32")

    def __init__(self, clock, cost):
        self.clock, self.cost, self.sides, self.job = clock, cost, [], None

    def portrait(self, picture, **_):
        pixels = picture if isinstance(picture, np.ndarray) else np.zeros((256, 256, 3), np.uint8)
        self.sides.append(pixels.shape[0])
        return SimpleNamespace(picture=pixels)

    def motion(self, portrait, speech):
        return [torch.zeros(round(len(speech) / 640), 20)]

    def draw(self, portrait, motions):
        for _ in motions[0]:
            self.clock.seconds += self.cost * portrait.picture[..., 0].size / 256**2
            yield portrait.picture

    def render(self, portrait, speech, output, options):
        seconds = speech.stat().st_size / 32_000
        self.clock.seconds += 25 * seconds * self.cost
        facts = {"seconds": seconds, "width": 256, "height": 256, "timings": {}, "real_time_factor": 1.0}
        self.job = facts
        return facts


@pytest.mark.parametrize("cost", [1e-3, 0.01, 0.5, 3.0, 20.0])
def test_it_keeps_to_its_budget(clock, cost):
    facts = benchmark.measure(SlowTalker(clock, cost), 60.0, 2.0)
    assert clock.seconds + 2.0 == pytest.approx(facts["seconds"], abs=1e-3)
    assert facts["seconds"] <= max(60.0, 2.0 + 2 * cost)  # the first frame is always drawn
    rates = [row["frames_per_second"] for row in facts["drawing"]]
    for size, rate in zip(benchmark.SIZES, rates, strict=True):
        assert rate is None or rate == pytest.approx(256**2 / size**2 / cost, abs=0.01, rel=0.02)
    assert (rates[0] is None) == (cost > 3.75) and (rates[2] is None) == (cost >= 0.5)
    assert (facts["job"] is None) == (cost > 3.75)


def test_a_quick_machine_draws_many_frames_and_a_whole_job(clock):
    talker = SlowTalker(clock, 0.01)
    facts = benchmark.measure(talker, 60.0, 2.0)
    assert talker.sides == [256, 256, 720, 1080]
    assert facts["drawing"][0]["frames"] > 300 and facts["drawing"][0]["cores_used"] == pytest.approx(2.0)
    assert facts["job"]["speech_seconds"] == pytest.approx(benchmark.JOB_SECONDS, abs=0.01)


def test_a_portrait_is_enlarged_to_its_shorter_side():
    assert benchmark.enlarge(np.zeros((50, 31, 3), np.uint8), 64).shape == (104, 64, 3)


@pytest.mark.parametrize("seconds", [4.9, 601, float("nan")])
def test_budgets_that_are_refused(seconds):
    with pytest.raises(InputError, match="allowed is 5 to 600"):
        benchmark.check_seconds(seconds)


def test_speech_has_the_length_asked_for():
    speech = benchmark.example_speech(12.3)
    assert len(speech) == round(12.3 * 16_000) and np.abs(speech[-16_000:]).max() > 0
