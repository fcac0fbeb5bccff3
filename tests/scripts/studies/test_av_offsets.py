"""The table of late sound: whose curves decide, what counts as out of step."""

import numpy as np

from scripts.evaluation.metrics import MAX_LAG
from scripts.studies.av_offsets import describe


def peak(lag, height=0.6):
    return height * np.exp(-((np.arange(-MAX_LAG, MAX_LAG + 1) - lag) ** 2) / 4)


def test_the_mean_of_both_readers_decides():
    assert describe(np.array([peak(3), peak(5)]))[0] == "+4"
    lag, model, ridge, both, at_zero, out_of_step = describe(np.array([peak(4), peak(4, 0.4)]))
    assert (lag, model, ridge, both, at_zero, out_of_step) == ("+4", "0.60", "0.40", "0.50", "0.01", "yes")


def test_a_flat_top_is_in_step():
    assert describe(np.array([peak(1), peak(1)]))[-1] == "no"
