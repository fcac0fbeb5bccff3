"""`scripts.evaluate --videos`: the report of small videos, a late sound, and what is refused."""

import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from anitalker.faces.detection import Face
from anitalker.media.video import ffmpeg
from scripts import evaluate
from scripts.evaluation import sync_videos


class Finder:
    """Finds its face [468,3] in every picture that is not black; the mouth opens where the picture is bright."""

    def __init__(self, face):
        self.points = (face * 60 + 40).numpy()

    def find(self, picture):
        points = self.points.copy()
        points[[14, 87, 317, 152], 1] += picture.mean() / 50
        return [Face((0.0, 0.0, 80.0, 80.0), 0.9, points)] if picture.mean() > 8 else []

    def track(self, frames, which="largest", smooth=True):
        assert not smooth
        for frame in frames:
            face = self.find(frame) or [Face((0.0, 0.0, 80.0, 80.0), 0.0, self.points)]
            yield face[0]


class Judge:
    """Remembers what it was asked."""

    def __init__(self):
        self.seen = []
        self.config = {"accuracy": {"filmed": {"two_seconds": 0.95}}}

    def __call__(self, landmarks, sound, seen):
        self.seen.append((landmarks, sound, seen))
        return {"confidence": 0.1 * len(self.seen), "offset_frames": len(self.seen)}


@pytest.fixture
def asked(monkeypatch, face):
    judge = Judge()
    monkeypatch.setattr(sync_videos, "SyncJudge", lambda: judge)
    monkeypatch.setattr(sync_videos, "load_finder", lambda *_: Finder(face))
    return judge


def video(path, seconds=2.0, fps="25", sound=True, picture="testsrc=s=80x64:r={fps}"):
    command = [ffmpeg(), "-v", "error", "-f", "lavfi", "-i", picture.format(fps=fps)]
    command += ["-f", "lavfi", "-i", "sine=300:r=44100"] * sound
    subprocess.run([*command, "-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast", str(path)], check=True)
    return str(path)


@pytest.mark.slow
def test_report_of_two_videos(asked, tmp_path, capsys):
    files = [video(tmp_path / "a.mp4"), video(tmp_path / "b.mp4", 1.5, "30")]
    assert evaluate.main(["--videos", *files, "--parts", "sync", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"sync"}
    assert report["sync"]["confidence"] == pytest.approx(0.15) and report["sync"]["offset_frames"] == 1.5
    assert report["sync"]["judge_accuracy"] == asked.config["accuracy"]
    wanted = {"confidence": 0.1, "offset_frames": 1, "frames": 50, "faces_lost": 0}
    assert report["sync"]["videos"][files[0]] == wanted
    landmarks, sound, seen = asked.seen[1]  # 30 frames per second are read at 25
    assert landmarks.shape == (len(seen), 468, 3) and abs(len(seen) - 37.5) < 2 and len(sound) == 1.5 * 16_000


def test_the_table_for_people(asked, tmp_path, capsys):
    file = video(tmp_path / "a.mp4", 1)
    assert evaluate.main(["--videos", file, "--out", str(tmp_path / "out")]) == 0  # all parts there are: sync
    assert "| confidence | 0.1 |" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["sync"]["offset_frames"] == 1


def test_a_title_without_a_face_does_not_count(asked, tmp_path):
    picture = "color=white:s=80x64:r={fps},fade=in:st=0.48:d=0.04"
    sync_videos.judge_videos([video(tmp_path / "a.mp4", picture=picture)])
    landmarks, _, seen = asked.seen[0]
    assert 10 <= (~seen).sum() <= 24 and not seen[0] and seen[24:].all() and len(landmarks) == len(seen) == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sound": False}, "has no audio stream"),
        ({"picture": "color=black:s=80x64:r={fps}"}, "shows no face"),
    ],
)
def test_what_cannot_be_judged_is_named(asked, tmp_path, capsys, options, message):
    files = [video(tmp_path / "good.mp4", 1), video(tmp_path / "bad.mp4", 1, **options)]
    assert evaluate.main(["--videos", *files, "--json", "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert not printed.out and not (tmp_path / "out").exists()
    (error,) = (line for line in printed.err.splitlines() if line.startswith("error"))
    assert message in error and "bad.mp4" in error


def test_a_short_video_is_named(monkeypatch, tmp_path, face, capsys):
    monkeypatch.setattr(sync_videos, "load_finder", lambda *_: Finder(face))
    assert evaluate.main(["--videos", video(tmp_path / "short.mp4", 0.5)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "short.mp4" in error and "1 s" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--videos"),
        (["--videos", "a.mp4", "--parts", "audio"], "allowed are sync"),
        (["--data", "d", "--parts", "sync"], "--data came with --parts sync"),
    ],
)
def test_options_that_do_not_fit(capsys, arguments, message):
    with pytest.raises(SystemExit):
        evaluate.parse(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_spoken_portrait_by_the_shipped_networks(tmp_path, example_portrait, capsys):
    """Still lips beside a tone: nothing fits, and the command says so."""
    Image.open(example_portrait).convert("RGB").resize((256, 256)).save(tmp_path / "still.png")
    file = tmp_path / "still.mp4"
    still = ["-loop", "1", "-r", "25", "-i", str(tmp_path / "still.png"), "-f", "lavfi", "-i", "sine=200"]
    codec = ["-t", "1.2", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    subprocess.run([ffmpeg(), "-v", "error", *still, *codec, str(file)], check=True)
    assert evaluate.main(["--videos", str(file), "--parts", "sync", "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)["sync"]["videos"][str(file)]
    assert judged["frames"] == 30 and judged["faces_lost"] == 0
    assert np.isfinite(judged["confidence"]) and judged["confidence"] < 0.1
