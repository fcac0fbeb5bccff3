"""A visitor's avatars in the page's queue: one at a time, followed to its end, and gone with the visitor's files."""

from types import SimpleNamespace

import pytest

from anitalker.config import InputError
from anitalker.server.job_queue import JobQueue
from app.avatar.actions import AvatarActions
from app.avatar.views import NOTHING
from app.guard import SESSION_HEADER
from app.inputs import file_data
from tests.conftest import run_async


@pytest.fixture
def visitor(page, film):
    """Actions with a queue of their own, a request, and a film that the visitor has uploaded."""
    actions = AvatarActions(page.models, page.sessions, JobQueue(2))
    session_id = page.sessions.session_id(page.sessions.new_token())
    request = SimpleNamespace(headers={SESSION_HEADER: session_id}, session_hash="tab")
    upload = page.sessions.get(session_id).upload_folder() / "film.mp4"
    upload.write_bytes(film.read_bytes())
    yield SimpleNamespace(actions=actions, request=request, files=[file_data(upload)], id=session_id)
    page.sessions.delete(session_id)


@pytest.mark.slow
def test_one_avatar_at_a_time(visitor, quick_tune):
    quick_tune.hold.set()

    async def start_twice():
        job = await visitor.actions.start(visitor.files, True, "Ada", visitor.request)
        with pytest.raises(InputError, match="an avatar is being made already; wait for it, or cancel it"):
            await visitor.actions.start(visitor.files, True, "Ada", visitor.request)
        quick_tune.hold.clear()
        return [view async for view in visitor.actions.follow(job, visitor.request)]

    *looks, last = run_async(start_twice())
    assert looks and all(view.busy is True for view in looks)
    assert last.busy is False and "Done" in last.status and "data-use='1'" in last.gallery and "data-use" in last.row


@pytest.mark.slow
def test_deleting_all_files_ends_the_job_and_leaves_nothing(visitor, quick_tune, page):
    quick_tune.hold.set()
    folder = page.sessions.get(visitor.id).folder

    async def delete_meanwhile():
        job = await visitor.actions.start(visitor.files, True, "Ada", visitor.request)
        views = []
        async for view in visitor.actions.follow(job, visitor.request):
            if job.stage == "tuning" and not job.cancelled:
                page.sessions.delete(visitor.id)
            views.append(view)
        return views

    last = run_async(delete_meanwhile())[-1]
    assert (last.status, last.gallery, last.row, last.busy) == ("", NOTHING, "", False)
    assert not list(folder.rglob("*.safetensors"))
