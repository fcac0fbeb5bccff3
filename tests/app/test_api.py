"""The page through gradio_client, as docs/web.md shows it: results, messages, limits, one model, no leftovers."""

import threading
import time
import zipfile

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from anitalker.media.video import probe
from anitalker.media.writer import VideoWriter
from anitalker.motion.prior import MotionPrior
from anitalker.network_config import MotionPriorConfig

FRAME_SECONDS = 0.02  # that a slow frame takes at least


@pytest.fixture(scope="module")
def client(page):
    """A client that the tests share: to close one takes a second."""
    client = Client(page.url, verbose=False)
    yield client
    client.close()


@pytest.fixture
def new_client(page):
    """A new visitor, for tests that count what is there."""
    client = Client(page.url, verbose=False)
    yield client
    client.close()


def leftovers(page):
    """Files of jobs and of broken uploads."""
    return [path for path in page.sessions.root.glob("**/work-*")] + list(page.sessions.root.glob("tmp*"))


@pytest.mark.slow
def test_speak(page, client, example_portrait, clicks):
    video, facts, status, results = client.predict(
        portrait=handle_file(example_portrait),
        recording=handle_file(clicks),
        frame="crop",
        seed=5,
        steps=1,
        api_name="/speak",
    )
    media = probe(video)
    assert (media.video_codec, media.audio_codec, media.width) == ("h264", "aac", 256)
    assert facts["frames"] == 26 and facts["seed"] == 5 and facts["model"] == "lite"
    assert "Done" in status and "frame crop · seed 5 · steps 1" in results
    assert leftovers(page) == []


@pytest.mark.slow
def test_speak_with_the_sound_of_a_video_and_drive(page, new_client, example_portrait, clicks):
    portrait = handle_file(example_portrait)
    video = new_client.predict(portrait=portrait, recording=handle_file(clicks), steps=1, api_name="/speak")[0]
    clip = handle_file(video)
    facts = new_client.predict(portrait=portrait, recording=clip, steps=1, api_name="/speak")[1]
    assert facts["frames"] in (26, 27)
    for absolute in (False, True):
        video, facts, _, gallery = new_client.predict(
            portrait=portrait, driving=clip, absolute=absolute, api_name="/drive"
        )
        assert facts["kind"] == "drive" and probe(video).audio_codec == "aac"
    assert gallery.count("<figure>") == 4 and leftovers(page) == []


@pytest.mark.slow
def test_dub(page, new_client, film_of_two, clicks):
    inputs = {"video": handle_file(film_of_two), "recording": handle_file(clicks)}
    video, facts, status, gallery = new_client.predict(**inputs, face="1", stop=0.5, seed=3, api_name="/dub")
    media = probe(video)
    assert (media.width, media.height, media.fps, media.audio_codec) == (448, 224, 30, "aac")
    assert (facts["kind"], facts["frames"], facts["fps"], facts["seed"]) == ("dub", 15, 30, 3)
    assert "Done" in status and "seed 3 · face 2 · to 0.5" in gallery and leftovers(page) == []
    facts = new_client.predict(video=inputs["video"], recording=None, text="Yes.", size=128, api_name="/dub")[1]
    assert (facts["width"], facts["height"]) == (256, 128)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"video": None}, "no video yet"),
        ({"video": "clicks"}, "video has no pictures"),
        ({"recording": None}, "no recording, text or performance yet"),
        ({"text": "Hello."}, "a recording and a text came"),
        ({"fit": "stretch"}, "fit is 'stretch'; allowed are trim, loop, hold, speed"),
        ({"start": 5}, "from is 5 s, but the video has pictures up to 1.00 s"),
        ({"stop": "x"}, "to is 'x'; give a number"),
        ({"face": "-1"}, "face is '-1'"),
    ],
)
def test_bad_input_of_a_dub(page, client, film, clicks, change, words):
    files = {"film": handle_file(film), "clicks": handle_file(clicks), None: None}
    inputs = {"video": files["film"], "recording": files["clicks"]}
    inputs |= {key: files.get(value, value) for key, value in change.items()}
    with pytest.raises(AppError, match=words) as caught:
        client.predict(**inputs, api_name="/dub")
    assert str(page.sessions.root) not in str(caught.value)


@pytest.mark.slow
def test_say(client, example_portrait):
    inputs = {"portrait": handle_file(example_portrait), "text": "Hello there.", "steps": 1, "frame": "crop"}
    video, facts, *_ = client.predict(**inputs, api_name="/say")
    assert facts["kind"] == "say" and 10 < facts["frames"] < 60 and probe(video).audio_codec == "aac"
    with pytest.raises(AppError, match="voice files are for the command line"):
        client.predict(**inputs, voice="/etc/x.onnx", api_name="/say")
    with pytest.raises(AppError, match="voice is 'no-such'"):
        client.predict(**inputs, voice="no-such", api_name="/say")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"portrait": None}, "no portrait yet"),
        ({"recording": None}, "no recording yet"),
        ({"recording": "portrait"}, "has no sound"),
        ({"portrait": "clicks"}, "not a picture"),
        ({"scale": 3}, "scale is 3"),
        ({"model": "none"}, "model is 'none'"),
        ({"face": "7"}, "face 7 was asked for"),
    ],
)
def test_bad_input_is_a_message_without_the_servers_paths(page, client, example_portrait, clicks, change, words):
    files = {"portrait": handle_file(example_portrait), "clicks": handle_file(clicks), None: None}
    inputs = {"portrait": files["portrait"], "recording": files["clicks"], "steps": 1, "frame": "crop"}
    inputs |= {key: files.get(value, value) for key, value in change.items()}
    with pytest.raises(AppError, match=words) as caught:
        client.predict(**inputs, api_name="/speak")
    assert str(page.sessions.root) not in str(caught.value)


@pytest.mark.slow
def test_a_still(page, client, example_portrait):
    from anitalker.provenance.verify import verify

    inputs = {"portrait": handle_file(example_portrait), "size": 128}
    picture, status = client.predict(**inputs, moment="lips", lips=1.5, yaw=10, api_name="/still")
    assert picture.endswith(f"{example_portrait.stem}-still.png") and status == "128x128"
    assert verify(picture)["state"] == "intact"
    client.predict(**inputs, api_name="/still")
    assert len(list(page.sessions.root.glob("sessions/*/results/still-*/*.png"))) == 1, "the last one is kept"
    with pytest.raises(AppError, match="moment is 'smile'; allowed are rest, lips, head, blink"):
        client.predict(**inputs, moment="smile", api_name="/still")
    with pytest.raises(AppError, match="no portrait yet"):
        client.predict(**{**inputs, "portrait": None}, api_name="/still")


def test_too_long_and_too_large_are_refused(client, example_portrait, make_wav, tmp_path):
    long = make_wav(tmp_path / "long.wav", np.full(22 * 16_000, 0.1))
    with pytest.raises(AppError, match="22 s long; allowed are 20 s"):
        client.predict(portrait=handle_file(example_portrait), recording=handle_file(long), api_name="/speak")
    large = make_wav(tmp_path / "large.wav", np.full(70 * 16_000, 0.1))
    with pytest.raises(Exception, match="maximum file size"):
        client.predict(portrait=handle_file(example_portrait), recording=handle_file(large), api_name="/speak")


@pytest.fixture
def slow_frames(found_talker, monkeypatch):
    """Draws frames slowly; `.drawn` counts them."""
    draw = found_talker.model.render_patches

    def slowly(*arguments, **options):
        for frame in draw(*arguments, **options):
            time.sleep(FRAME_SECONDS)
            slowly.drawn += 1
            yield frame

    slowly.drawn = 0
    monkeypatch.setattr(found_talker.model, "render_patches", slowly)
    return slowly


@pytest.fixture
def long_speech(make_wav, tmp_path):
    return make_wav(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 15 * 16_000))


@pytest.mark.slow
def test_cancel_ends_the_work_within_a_second(page, client, slow_frames, example_portrait, long_speech):
    inputs = {"portrait": handle_file(example_portrait), "recording": handle_file(long_speech), "steps": 1}
    job = client.submit(**inputs, api_name="/speak")
    deadline = time.monotonic() + 30
    while slow_frames.drawn < 30 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert any(thread.name == "jobs" for thread in threading.enumerate())
    before = slow_frames.drawn
    client.predict(api_name="/cancel")
    assert "Cancelled" in job.result(timeout=10)[2]
    drawn = slow_frames.drawn
    assert drawn - before < 1 / FRAME_SECONDS, "a second of work after the cancellation"
    time.sleep(0.3)
    assert slow_frames.drawn == drawn, "frames are still drawn"
    assert leftovers(page) == []


@pytest.mark.slow
def test_a_full_queue_says_so(page, slow_frames, example_portrait, long_speech):
    clients = [Client(page.url, verbose=False) for _ in range(5)]  # one runs, three wait, the last is refused
    jobs = []
    for number, client in enumerate(clients):
        inputs = {"portrait": handle_file(example_portrait), "recording": handle_file(long_speech), "steps": 1}
        jobs.append(client.submit(**inputs, api_name="/speak"))
        deadline = time.monotonic() + 20
        while number < 4 and not jobs[-1].outputs() and time.monotonic() < deadline:
            time.sleep(0.02)
    with pytest.raises(AppError, match="4 videos are already being made or waiting"):
        jobs[4].result()
    assert "Place 3 in the queue" in jobs[3].outputs()[-1][2]
    for client in clients:
        client.predict(api_name="/cancel")
    assert all("Cancelled" in job.result()[2] for job in jobs[:4])
    for client in clients:
        client.close()


@pytest.mark.slow
def test_files_go_with_the_visitor_and_the_model_stays(page, client, example_portrait):
    client.predict(portrait=handle_file(example_portrait), api_name="/faces")
    before = {file for file in page.sessions.root.glob("sessions/*/**/*") if file.is_file()}
    client.predict(api_name="/forget")
    deleted = {file for file in before if not file.exists()}
    assert example_portrait.name in {file.name for file in deleted}
    owners = {file.relative_to(page.sessions.root).parts[1] for file in deleted}
    assert len(owners) == 1 and not any((page.sessions.root / "sessions" / owners.pop()).iterdir())
    client.predict(portrait=handle_file(example_portrait), api_name="/faces")
    assert page.models.loads == 1, "several requests, one load"


@pytest.fixture
def single_section(monkeypatch):
    """Limit reports to their quickest section."""
    pytest.importorskip("captum")
    from anitalker.inspection import one_picture

    monkeypatch.setattr(one_picture, "SECTIONS", (one_picture.hal,))


@pytest.mark.slow
def test_inspect(page, client, example_portrait, single_section):
    portrait = handle_file(example_portrait)
    archive, facts, status, html = client.predict(portrait=portrait, api_name="/inspect")
    with zipfile.ZipFile(archive) as file:
        names = set(file.namelist()) - {"./"}
    assert "index.html" in names and facts["pictures"] == len(names) - 1 > 0 and facts["kind"] == "picture"
    assert "Done" in status and html.count("<img") == facts["pictures"] and "<nav" not in html
    assert facts["sections"] == ["hal"] and leftovers(page) == []
    with pytest.raises(AppError, match="no portrait yet"):
        client.predict(portrait=None, api_name="/inspect")


@pytest.mark.slow
def test_inspect_a_clip_whose_length_is_checked(client, page, example_portrait, make_wav, tmp_path, single_section):
    portrait = handle_file(example_portrait)
    sound = make_wav(tmp_path / "s.wav", np.random.default_rng(0).normal(0, 0.1, 2 * 16_000))
    clip = client.predict(portrait=portrait, recording=handle_file(sound), steps=1, api_name="/speak")[0]
    facts = client.predict(portrait=None, clip=handle_file(clip), api_name="/inspect")[1]
    assert facts["kind"] == "video" and {"hal", "clip-stages"} <= set(facts["sections"])
    with VideoWriter(tmp_path / "long.mp4", 64, 64) as writer:
        for _ in range(25 * 21):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(AppError, match="21 s long; allowed are 20 s"):
        client.predict(portrait=portrait, clip=handle_file(tmp_path / "long.mp4"), api_name="/inspect")


def test_an_idle_session_expires(page, client, example_portrait):
    client.predict(portrait=handle_file(example_portrait), api_name="/faces")
    for session in page.sessions.sessions():
        session.last_seen -= page.sessions.limits.keep_seconds + 1
    page.sessions.sweep()
    assert list((page.sessions.root / "sessions").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["/speak", "/dub", "/verify"])
def test_the_panels_sample_runs_as_printed(page, endpoint, capsys):
    info = httpx.get(f"{page.url}/gradio_api/info").json()["named_endpoints"]
    sample = info[endpoint]["code_snippets"]["python"]
    assert f"{page.url}/examples/" in sample and "raw.githubusercontent" not in str(info)
    exec(sample, {})
    assert "Done" in (printed := capsys.readouterr().out) or "Made by AniTalker" in printed
    assert [output["label"] for output in info["/speak"]["returns"]] == ["Video", "Facts", "Status", "Gallery"]
    assert not [out for call in info.values() for out in call["returns"] if out["label"].startswith("value_")]


@pytest.mark.slow
def test_two_people_each_with_a_recording(client, pair, clicks, make_wav, tmp_path):
    longer = make_wav(tmp_path / "second.wav", np.random.default_rng(2).normal(0, 0.1, 24_000))
    inputs = {"portrait": handle_file(pair), "recording": handle_file(clicks), "second_recording": handle_file(longer)}
    facts = client.predict(**inputs, second_face=2, steps=1, api_name="/speak")[1]
    assert facts["frames"] == 38, "the length of the longer recording"
    with pytest.raises(AppError, match="second face is '0'; give the number on the picture"):
        client.predict(**inputs, second_face=0, steps=1, api_name="/speak")
    with pytest.raises(AppError, match="face 2"):  # counted from 0 by the library
        client.predict(**inputs, second_face=3, steps=1, api_name="/speak")


@pytest.mark.slow
def test_formats_aspect_subtitles_and_a_loop(page, client, found_talker, example_portrait, tmp_path, monkeypatch):
    torch.manual_seed(0)
    prior = MotionPrior(MotionPriorConfig(steps=1, layers=1, hidden=8, bins=4, code_size=16, directions=2)).eval()
    monkeypatch.setattr(found_talker.model, "prior", prior)
    srt = tmp_path / "texts.srt"
    srt.write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n")
    inputs = {"portrait": handle_file(example_portrait), "seconds": 1, "loop": True, "aspect": "9:16"}
    inputs |= {"subtitles": handle_file(srt), "format": "gif", "frame": "crop"}
    video, facts, status, gallery = client.predict(**inputs, api_name="/idle")
    with Image.open(video) as picture:
        assert picture.format == "GIF" and picture.n_frames == 25 and picture.size == (256, 456)
    assert (facts["width"], facts["height"]) == (256, 456) and "aspect 9:16" in status
    assert ".gif' alt='Video" in gallery and leftovers(page) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "avi"}, "format is 'avi'; allowed are mp4, mov, webm, gif, webp"),
        ({"aspect": "4:3"}, "aspect is '4:3'; allowed are 9:16, 1:1, 16:9"),
        ({"background": "/etc/passwd"}, "allowed are keep, transparent, blur, colour, file"),
        ({"background": "file"}, "background is file, but there is none; give a picture or a video"),
        ({"background": "file", "background_file": "clicks"}, "background"),
        ({"background": "colour", "background_colour": "bluish"}, "background colour is .bluish."),
        ({"background": "transparent"}, "MP4 has no transparency; write a .webm"),
        ({"subtitles": "clicks"}, "ends in .srt"),
    ],
)
def test_outputs_that_are_refused(page, client, example_portrait, clicks, change, words):
    files = {"clicks": handle_file(clicks)}
    inputs = {"portrait": handle_file(example_portrait), "recording": handle_file(clicks)}
    inputs |= {key: files.get(value, value) for key, value in change.items()}
    with pytest.raises(AppError, match=words) as caught:
        client.predict(**inputs, api_name="/speak")
    assert str(page.sessions.root) not in str(caught.value)
