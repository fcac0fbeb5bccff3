"""Sessions: tokens, whose file is whose, what is kept and for how long."""

import os
import zipfile
from types import SimpleNamespace

import pytest

from anitalker.server.job_queue import Job
from anitalker.server.limits import Limits
from app.sessions import SessionStore


@pytest.fixture
def store():
    store = SessionStore(Limits(keep_seconds=60))
    yield store
    store.close()
    assert not store.root.exists()


def write(path, content="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def add_video(session, name, **inputs):
    return session.add_result(write(session.folder / "x.mp4"), "speak", {}, {}, 24, name, inputs)


def test_a_zip_goes_with_the_first_of_its_videos_that_is_deleted(store):
    session = store.get("a")
    results = [add_video(session, f"v{number}") for number in range(3)]
    session.delete_result(1)
    first = session.set_batch(results[:1], {}, "me-videos")
    batch = session.set_batch(results, {}, "me-videos")
    assert batch.shown is results[2] and zipfile.ZipFile(batch.archive).namelist() == ["v1.mp4", "v2.mp4"]
    assert not first.archive.exists() and first.shown is None
    session.delete_result(2)
    assert session.batch is None and not batch.archive.exists() and results[2].file.exists()


def test_unpacked_recordings_go_with_the_next_ones_unless_they_are_used(store):
    session = store.get("a")
    first, second = session.unpack_folder(), session.unpack_folder()
    assert not first.exists() and second.exists()
    result = add_video(session, "v", recording={"path": str(write(second / "0-0" / "a.wav"))})
    third = session.unpack_folder()
    job = Job(lambda job: None)
    session.watch("tab", job)
    session.delete_result(result.number)
    fourth = session.unpack_folder()
    assert second.exists() and third.exists(), "gone while a job may use them"
    job.run()
    session.unpack_folder()
    assert not any(folder.exists() for folder in (second, third, fourth))


def test_one_saved_still_is_kept(store):
    session = store.get("a")
    first = write(session.still_file("me-still"))
    second = write(session.still_file("me-still"))
    assert not first.exists() and second.exists() and second.name == "me-still.png"


def test_tokens_are_signed_by_this_server(store):
    token = store.new_token()
    assert store.is_valid(token) and token != store.new_token()
    other = SessionStore(Limits())
    other.close()
    nonce, signature = token.split(".")
    for forged in ("", ".", nonce, f"{nonce}.", f".{signature}", f"{nonce}0.{signature}", other.new_token()):
        assert not store.is_valid(forged)
    assert nonce not in store.session_id(token)


def test_a_visitor_reads_own_and_public_files_only(store, tmp_path):
    mine, theirs = store.get("a"), store.get("b")
    assert mine is store.get("a") and oct(mine.folder.stat().st_mode)[-3:] == "700"
    files = [write(mine.folder / "x"), write(theirs.folder / "x"), write(tmp_path / "x"), write(store.root / "x")]
    store.public = frozenset({files[3]})
    readable = [store.resolve_readable("a", str(file)) for file in (*files, mine.folder, mine.folder / "missing")]
    assert readable == [files[0], None, None, files[3], None, None]
    os.symlink(files[1], mine.folder / "link")
    assert store.resolve_readable("a", str(mine.folder / "link")) is None


def test_an_upload_moves_and_an_example_is_copied(store):
    upload, example = write(store.root / "hash" / "me.png"), write(store.root / "other" / "man.png")
    store.public = frozenset({example})
    claimed = [store.claim_upload("a", str(file)) for file in (upload, example)]
    assert all(store.resolve_readable("a", str(file)) == file for file in claimed)
    assert not upload.parent.exists() and example.exists()
    with pytest.raises(FileNotFoundError):
        store.claim_upload("b", str(upload))


def test_the_oldest_results_go(store, tmp_path):
    session = store.get("a")
    for _ in range(4):
        session.add_result(write(tmp_path / "out.mp4"), "speak", {}, {}, max_results=3)
    assert [result.number for result in session.results] == [2, 3, 4]
    assert {path for path in session.folder.rglob("*.mp4")} == {result.file for result in session.results}


def test_a_result_has_the_name_of_its_inputs_and_keeps_them(store, tmp_path):
    result = store.get("a").add_result(write(tmp_path / "x"), "say", {}, {}, 3, "me-hello", {"text": "Hello."})
    assert result.file.name == "me-hello.mp4" and result.inputs == {"text": "Hello."}
    other = store.get("a").add_result(write(tmp_path / "x"), "say", {}, {}, 3, "me-hello")
    assert other.file != result.file and result.file.exists() and other.file.name == result.file.name


def test_a_live_video_is_found_by_its_own_visitor(store):
    job, session = Job(lambda job: None), store.get("a")
    session.watch("tab", job)
    assert session.live_video("") is None
    job.live = SimpleNamespace(token="")
    assert session.live_video("") is None, "a video that is not streamed"
    job.live = SimpleNamespace(token="t")
    assert session.live_video("t") is job.live and store.get("b").live_video("t") is None


def test_a_report_replaces_the_previous_one(store, tmp_path):
    session = store.get("a")
    for text in ("first", "second"):
        write(tmp_path / "report" / "index.html", text)
        report = session.set_report(tmp_path / "report", {})
    assert [path.read_text() for path in session.folder.rglob("index.html")] == ["second"]
    assert session.report is report and list(session.folder.rglob("*.zip")) == [report.archive]


def test_idle_sessions_expire_but_not_under_a_job(store):
    idle, busy, recent = (store.get(name) for name in "abc")
    busy.jobs["tab"] = Job(lambda job: None)
    for session in (idle, busy):
        session.last_seen -= 61
    store.sweep()
    assert store.sessions() == [busy, recent] and not idle.folder.exists() and busy.folder.exists()
    busy.jobs["tab"].run()
    store.sweep()
    assert store.sessions() == [recent]


def test_a_tab_shows_the_latest_job(store):
    session, jobs = store.get("a"), [Job(lambda job: None) for _ in range(3)]
    for tab, job in zip("abc", jobs, strict=True):
        session.watch(tab, job)
    assert session.latest_job is jobs[2] and session.jobs == dict(zip("abc", jobs, strict=True))
    jobs[0].run()
    session.watch("d", session.latest_job)
    assert list(session.jobs) == ["b", "c", "d"] and session.jobs["d"] is jobs[2]


def test_remains_of_broken_uploads_are_swept(store):
    old, new, example = (write(store.root / name) for name in ("tmp1", "tmp2", "tmp3"))
    store.public = frozenset({example})
    for file in (old, example):
        os.utime(file, (0, 0))
    store.sweep()
    assert not old.exists() and new.exists() and example.exists()


def test_deleting_a_session_cancels_its_jobs(store):
    session = store.get("a")
    session.jobs["tab"] = job = Job(lambda job: None)
    write(session.folder / "x")
    store.delete("a")
    assert job.cancelled and not session.folder.exists() and store.sessions() == []


def test_a_single_result_is_deleted(store):
    session = store.get("a")
    for _ in range(2):
        file = session.folder / "video.mp4"
        file.write_bytes(b"x")
        session.add_result(file, "speak", {}, {}, 5)
    first, second = session.results
    assert session.delete_result(1) is first and session.delete_result(1) is None
    assert session.results == [second] and not first.file.exists() and second.file.exists()
