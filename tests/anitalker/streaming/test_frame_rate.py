"""The frame rate falls in steps when frames come late, and rises when there is time again."""

from anitalker.streaming.frame_rate import CALM_WINDOWS, LATE_LIMIT, RATES, VERY_LATE_LIMIT, WINDOW_FRAMES, FrameRate


def test_rates_are_what_they_say():
    rate = FrameRate()
    for rate.rate in RATES:
        assert sum(rate.draws(index) for index in range(25)) == rate.rate


def test_late_frames_lower_it_down_to_the_lowest():
    rate, seen = FrameRate(), [25]
    for _ in range(2 * VERY_LATE_LIMIT + 1):
        if rate.record(0, 0.05, True):
            seen.append(rate.rate)
    assert seen == [25, 20, 15]


def test_a_short_burst_of_late_frames_does_not_but_two_in_a_row_do():
    rate = FrameRate()
    late = [index % WINDOW_FRAMES < LATE_LIMIT for index in range(WINDOW_FRAMES)]
    on_time = [False] * WINDOW_FRAMES
    assert not any(rate.record(0.005, 0.02, is_late) for is_late in late + on_time + late + on_time)
    changes = [rate.record(0.005, 0.02, is_late) for is_late in late + late]
    assert changes.index(True) == 2 * WINDOW_FRAMES - 1 and rate.rate == 20


def test_a_single_late_frame_does_not():
    rate = FrameRate()
    for index in range(10 * WINDOW_FRAMES):
        assert not rate.record(0.005, 0.02, index % WINDOW_FRAMES == 0)
    assert rate.rate == 25


def test_it_rises_when_the_higher_rate_would_fit():
    rate = FrameRate()
    rate.rate = 15
    changes = [rate.record(0.004, 0.02 * rate.draws(index), False) for index in range(2 * CALM_WINDOWS * WINDOW_FRAMES)]
    assert sum(changes) == 2 and rate.rate == 25


def test_it_stays_where_the_higher_rate_would_not_fit():
    rate = FrameRate()
    rate.rate = 15
    for index in range(10 * WINDOW_FRAMES):
        rate.record(0.01, 0.04 * rate.draws(index), False)
    assert rate.rate == 15
