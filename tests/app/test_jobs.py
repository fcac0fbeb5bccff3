"""The line of jobs: order, place, limit, progress, cancel before and during the work."""

import threading
import time

import pytest

from anitalker.config import InputError
from app.jobs import Job, Line


@pytest.fixture
def gate():
    """Work that goes on until it is let go, telling all the while."""

    class Gate:
        def __init__(self):
            self.open, self.began = threading.Event(), threading.Event()

        def __call__(self, job):
            self.began.set()
            done = 0
            while not self.open.wait(0.005):
                done = min(done + 1, 99)
                job.tell("frames", done, 100)
            return "made"

    gate = Gate()
    yield gate
    gate.open.set()


def test_jobs_are_done_in_order():
    line, order = Line(10), []
    jobs = [line.submit(lambda job, n=n: order.append(n)) for n in range(6)]
    assert all(job.ended.wait(5) for job in jobs)
    assert order == list(range(6)) and {job.state for job in jobs} == {"done"}


def test_places_and_the_limit(gate):
    line = Line(2)
    first = line.submit(gate)
    assert gate.began.wait(5)
    second, third = line.submit(lambda job: 2), line.submit(lambda job: 3)
    assert [line.place(job) for job in (first, second, third)] == [0, 1, 2]
    with pytest.raises(InputError, match="3 videos are being made or wait"):
        line.submit(lambda job: 4)
    second.cancel()
    assert line.place(third) == 1 and second.state == "cancelled" and second.ended.is_set()
    line.submit(lambda job: 4)
    gate.open.set()
    assert third.ended.wait(5) and third.result == 3 and first.result == "made"


def test_cancel_ends_the_work_and_the_next_begins(gate):
    line = Line(2)
    job = line.submit(gate)
    assert gate.began.wait(5)
    following = line.submit(lambda job: "next")
    began = time.monotonic()
    job.cancel()
    assert job.ended.wait(1) and time.monotonic() - began < 0.5
    assert job.state == "cancelled" and job.result is None
    assert following.ended.wait(1) and following.result == "next"


def test_a_fault_is_kept_and_the_line_goes_on():
    line = Line(2)
    broken = line.submit(lambda job: 1 / 0)
    after = line.submit(lambda job: "fine")
    assert after.ended.wait(5) and after.result == "fine"
    assert broken.state == "failed" and isinstance(broken.error, ZeroDivisionError)


def test_time_left():
    job = Job(lambda job: None)
    job.tell("frames", 0, 100)
    assert job.seconds_left() is None
    job._stage_began -= 10
    job.tell("frames", 25, 100)
    assert job.seconds_left() == pytest.approx(30, rel=0.05)


def test_all_are_cancelled_at_the_end(gate):
    line = Line(5)
    jobs = [line.submit(gate), line.submit(gate)]
    line.cancel_all()
    assert all(job.ended.wait(2) for job in jobs) and {job.state for job in jobs} == {"cancelled"}
