"""The job queue: order, position, limit, progress, cancellation before and during the work."""

import threading
import time

import pytest

from anitalker.config import InputError
from anitalker.server.job_queue import Job, JobQueue


@pytest.fixture
def gate():
    """Work that reports progress until the gate is opened."""

    class Gate:
        def __init__(self):
            self.open, self.started = threading.Event(), threading.Event()

        def __call__(self, job):
            self.started.set()
            done = 0
            while not self.open.wait(0.005):
                done = min(done + 1, 99)
                job.report("frames", done, 100)
            return "finished"

    gate = Gate()
    yield gate
    gate.open.set()


def test_jobs_are_done_in_order():
    queue, order = JobQueue(10), []
    jobs = [queue.submit(lambda job, n=n: order.append(n)) for n in range(6)]
    assert all(job.ended.wait(5) for job in jobs)
    assert order == list(range(6)) and {job.state for job in jobs} == {"done"}


def test_positions_and_the_limit(gate):
    queue = JobQueue(2)
    first = queue.submit(gate)
    assert gate.started.wait(5)
    second, third = queue.submit(lambda job: 2), queue.submit(lambda job: 3)
    assert [queue.position(job) for job in (first, second, third)] == [0, 1, 2]
    with pytest.raises(InputError, match="3 videos are already being made or waiting"):
        queue.submit(lambda job: 4)
    second.cancel()
    assert queue.position(third) == 1 and second.state == "cancelled" and second.ended.is_set()
    queue.submit(lambda job: 4)
    gate.open.set()
    assert third.ended.wait(5) and third.result == 3 and first.result == "finished"


def test_cancel_ends_the_work_and_the_next_begins(gate):
    queue = JobQueue(2)
    job = queue.submit(gate)
    assert gate.started.wait(5)
    following = queue.submit(lambda job: "next")
    start = time.monotonic()
    job.cancel()
    assert job.ended.wait(1) and time.monotonic() - start < 0.5
    assert job.state == "cancelled" and job.result is None
    assert following.ended.wait(1) and following.result == "next"


def test_an_error_is_kept_and_the_queue_goes_on():
    queue = JobQueue(2)
    broken = queue.submit(lambda job: 1 / 0)
    after = queue.submit(lambda job: "fine")
    assert after.ended.wait(5) and after.result == "fine"
    assert broken.state == "failed" and isinstance(broken.error, ZeroDivisionError)


def test_time_left():
    job = Job(lambda job: None)
    job.report("frames", 0, 100)
    assert job.seconds_left() is None
    job._stage_start -= 10
    job.report("frames", 25, 100)
    assert job.seconds_left() == pytest.approx(30, rel=0.05)


def test_all_jobs_are_cancelled_at_the_end(gate):
    queue = JobQueue(5)
    jobs = [queue.submit(gate), queue.submit(gate)]
    queue.cancel_all()
    assert all(job.ended.wait(2) for job in jobs) and {job.state for job in jobs} == {"cancelled"}
