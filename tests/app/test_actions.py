"""What the page is told of a job while it is followed."""

import threading
from types import SimpleNamespace

import pytest

from anitalker.server.job_queue import JobQueue
from app.actions import Actions
from app.guard import SESSION_HEADER
from tests.conftest import run_async


@pytest.mark.slow
def test_a_job_is_told_to_be_on_at_every_look(page):
    """A browser that lost the first word of it would never offer Cancel."""
    actions = Actions(page.models, page.sessions, JobQueue(1))
    session_id = page.sessions.session_id(page.sessions.new_token())
    request = SimpleNamespace(headers={SESSION_HEADER: session_id}, session_hash="tab")
    steps, end = iter(range(1, 4)), threading.Event()

    def work(job):
        for step in steps:
            job.report("frames", step, 4)
            assert end.wait(0.6) is False
        raise OSError("the end")

    async def follow():
        job = actions.jobs.submit(work, {"kind": "speak"})
        return [view async for view in actions.follow(job, request)]

    *looks, last = run_async(follow())
    assert len(looks) > 2 and all(view.busy is True for view in looks)
    assert last.busy is False
