"""Rows of frames per second and of differences, from models that are not there."""

import numpy as np
import pytest
import torch

from scripts.benchmarks import card_drawing
from scripts.benchmarks.card import Results


class Model:
    """Draws grey frames: the motion's first number, one more in bfloat16."""

    device = torch.device("cpu")

    def __init__(self):
        self.batches = []

    def gflop(self, moved, form):
        return 2.0

    def frames(self, moved, form, batch=None):
        self.batches.append((len(moved), batch))
        for row in moved:
            yield np.full((4, 4, 3), row[0] + (form == "bfloat16"), np.uint8)


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "gpu.json")


def test_a_row_says_which_share_of_the_peak_it_is(results):
    results.save("peaks", {"float32": {"product": 100.0, "convolution": 400.0}})
    model = Model()
    card_drawing.draw_row(results, model, "lite", 256, torch.zeros(3, 20), "float32", 4, 0.0)
    (row,) = results.facts["drawing"]
    assert model.batches == [(8, 4), (8, 4)] and row["frames"] == 8 and row["batch"] == 4
    assert row["share_of_peak"] == pytest.approx(2.0 * row["frames_per_second"] / 400.0)


def test_a_batch_that_is_too_large_leaves_a_reason(results):
    model = Model()
    model.gflop = lambda *_: (_ for _ in ()).throw(RuntimeError("CUDA out of memory.\nTried to allocate"))
    card_drawing.draw_row(results, model, "lite", 256, torch.zeros(3, 20), "float32", None, 0.0)
    (row,) = results.facts["drawing"]
    assert row["reason"] == "RuntimeError: CUDA out of memory." and row["batch"] == "default"


def test_differences_in_levels(results):
    card_drawing.add_frames(results, "lite", Model(), Model(), torch.full((2, 20), 7.0))
    exact, short = results.facts["parity"]
    assert exact["max"] == 0 and short["max"] == short["mean"] == 1 and short["what"] == "bfloat16, 1/255"


def test_the_speed_of_copies_is_in_gigabytes():
    assert card_drawing.copy_speed(torch.device("cpu"), 1 << 16) > 0
