"""Avatars, videos and voices over REST: the way through, and refusals in one line."""

import json
import threading
import time
from dataclasses import replace

import pytest

from anitalker.config import InputError
from anitalker.provenance.verify import verify

QUICK = {"frame": "crop", "size": "64"}


def await_end(client, video_id):
    for _ in range(1200):
        facts = client.get(f"/v1/videos/{video_id}").json()
        if facts["state"] not in ("waiting", "running"):
            return facts
        time.sleep(0.05)
    raise AssertionError(facts)


def order(client, avatar, speech, **form):
    with speech.open("rb") as file:
        return client.post("/v1/videos", data={"avatar": avatar, **QUICK, **form}, files={"speech": ("a.wav", file)})


@pytest.fixture
def gate(client, monkeypatch):
    """Videos are rendered when it is set; they report progress meanwhile."""
    opened = threading.Event()

    def render(portrait, speech, output, options, progress):
        while not opened.wait(0.01):
            progress("frames", 1, 2)
        output.write_bytes(b"video")
        return {"output": str(output), "frames": 2}

    monkeypatch.setattr(client.app.state.videos.talker, "render", render)
    yield opened
    opened.set()


@pytest.mark.slow
def test_a_recording_becomes_a_marked_video(client, avatar, clicks, tmp_path):
    answer = order(client, avatar, clicks)
    assert answer.status_code == 202, answer.text
    facts = await_end(client, answer.json()["id"])
    assert facts["state"] == "done", facts
    assert facts["facts"]["frames"] == 26 and "output" not in facts["facts"]
    video = client.get(f"/v1/videos/{facts['id']}/file")
    assert video.headers["content-type"] == "video/mp4"
    (tmp_path / "video.mp4").write_bytes(video.content)
    assert verify(tmp_path / "video.mp4")["made_by"] == "anitalker"
    assert client.delete(f"/v1/videos/{facts['id']}").status_code == 204
    assert client.get(f"/v1/videos/{facts['id']}").status_code == 404


def test_progress_is_told_as_events_until_the_end(client, avatar, clicks, gate):
    video_id = order(client, avatar, clicks).json()["id"]
    threading.Timer(0.3, gate.set).start()
    with client.stream("GET", f"/v1/videos/{video_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data: ")]
    assert told[-1]["state"] == "done" and told[0]["state"] in ("waiting", "running")
    assert client.get(f"/v1/videos/{video_id}/file").content == b"video"


def test_a_running_video_can_be_cancelled(client, avatar, clicks, gate):
    video_id = order(client, avatar, clicks).json()["id"]
    assert client.get(f"/v1/videos/{video_id}/file").status_code == 409
    client.post(f"/v1/videos/{video_id}/cancel")
    assert await_end(client, video_id)["state"] == "cancelled"


def test_a_full_queue_is_busy(client, avatar, clicks, gate):
    assert [order(client, avatar, clicks).status_code for _ in range(3)] == [202, 202, 429]


def test_a_deleted_video_leaves_no_file(client, avatar, clicks, gate):
    folder = client.app.state.folder / "videos"
    video_id = order(client, avatar, clicks).json()["id"]
    assert client.delete(f"/v1/videos/{video_id}").status_code == 204
    for _ in range(200):
        if not list(folder.iterdir()):
            return
        time.sleep(0.02)
    raise AssertionError(list(folder.rglob("*")))


def test_a_fault_is_not_told_in_words(client, avatar, clicks, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("secret")

    monkeypatch.setattr(client.app.state.videos.talker, "render", fail)
    facts = await_end(client, order(client, avatar, clicks).json()["id"])
    assert facts["state"] == "failed" and "secret" not in facts["error"]


def test_wrong_input_of_a_job_is_told(client, avatar, clicks, monkeypatch):
    def refuse(*arguments):
        raise InputError("speech is\nempty; give sound")

    monkeypatch.setattr(client.app.state.videos.talker, "render", refuse)
    facts = await_end(client, order(client, avatar, clicks).json()["id"])
    assert facts["error"] == "speech is empty; give sound"


def test_a_file_that_is_no_picture_is_refused_by_its_own_name(client):
    answer = client.post("/v1/avatars", files={"portrait": ("../notes.txt", b"no picture")})
    detail = answer.json()["detail"]
    assert answer.status_code == 400 and "notes.txt" in detail and "anitalker-serve" not in detail
    assert not list((client.app.state.folder / "avatars").iterdir())


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "recording (speech) or a text"),
        ({"text": " "}, "there is no text"),
        ({"text": "Hello", "voice": "/etc/passwd.onnx"}, "voice files"),
        ({"text": "Hello", "lips": "3"}, "lips is 3.0; allowed is 0 to 2"),
        ({"text": "Hello", "size": "nan"}, "size is 'nan'"),
        (
            {"text": "Hello", "background": "/etc/hosts"},
            "background is '/etc/hosts'; allowed are keep",
        ),
        ({"text": "Hello", "background": "transparent"}, "allowed are keep, blur, and a colour"),
        ({"text": "Hello", "gaze": "sky"}, "gaze is 'sky'; allowed are"),
        ({"text": "Hello", "emotion": "glee"}, "emotion is 'glee'"),
        ({"text": "Hello", "expression": "wink=1"}, "wink"),
        ({"text": "Hello", "aspect": "2:1"}, "aspect is '2:1'"),
        ({"text": "Hello", "marks": "false"}, "marks cannot be left out here"),
    ],
)
def test_wrong_orders_are_refused_in_one_line(client, avatar, form, words):
    answer = client.post("/v1/videos", data={"avatar": avatar, **form})
    assert answer.status_code == 400 and words in answer.json()["detail"] and "\n" not in answer.json()["detail"]


def test_marks_are_left_out_where_the_operator_allows_it(client, avatar, clicks, monkeypatch):
    seen = []

    def render(portrait, speech, output, options, progress):
        seen.append(options.marks)
        output.write_bytes(b"video")
        return {"output": str(output), "frames": 2}

    videos = client.app.state.videos
    monkeypatch.setattr(videos.talker, "render", render)
    monkeypatch.setattr(videos, "limits", replace(videos.limits, allow_no_marks=True))
    for marks in ("false", "true"):
        answer = order(client, avatar, clicks, marks=marks)
        assert await_end(client, answer.json()["id"])["state"] == "done"
    assert seen == [False, True]


def test_missing_and_malformed_fields_are_named(client, avatar):
    answer = client.post("/v1/videos", data={"avatar": avatar, "text": "Hello", "seed": "many"})
    assert answer.status_code == 422 and answer.json()["detail"].startswith("seed: ")
    assert client.post("/v1/videos", data={"text": "Hello"}).json()["detail"].startswith("avatar: ")


def test_what_is_not_there_is_404(client):
    assert client.post("/v1/videos", data={"avatar": "x", "text": "Hello"}).status_code == 404
    for path in ("/v1/avatars/x", "/v1/videos/x", "/v1/videos/x/events", "/v1/videos/x/file", "/nothing"):
        assert set(client.get(path).json()) == {"detail"} and client.get(path).status_code == 404


def test_avatars_are_forgotten(client, avatar):
    assert client.get(f"/v1/avatars/{avatar}").json()["faces"] == [0]
    assert client.delete(f"/v1/avatars/{avatar}").status_code == 204
    assert client.delete(f"/v1/avatars/{avatar}").status_code == 404


def test_voices_health_metrics_and_description(client):
    voices = client.get("/v1/voices").json()
    assert {"value": "", "label": "Guess from the text"} in voices
    assert client.get("/healthz").json()["status"] == "ok"
    assert 'anitalker_requests_total{status="200"}' in client.get("/metrics").text
    assert "/v1/videos" in client.get("/openapi.json").json()["paths"]


def test_its_files_leave_with_it(server_talker, settings):
    from fastapi.testclient import TestClient

    from anitalker.server.application import build_application

    app = build_application(server_talker, settings)
    with TestClient(app, base_url="http://localhost"):
        assert app.state.folder.is_dir()
    assert not app.state.folder.exists()
