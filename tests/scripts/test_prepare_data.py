"""Videos of a drawn disc that a fake finder takes for a face: cuts, crops, files and manifest of the data folder."""

import argparse
import csv
import itertools
import subprocess
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest

from anitalker.media.video import ffmpeg
from scripts import prepare_data
from scripts.training.data import decode_frames, decode_speech, load_clips

pytestmark = pytest.mark.slow

SIZE, RADIUS = (180, 240), 40


def disc(x, y, shade=40, face=True):
    """A frame of grey `shade` with a white disc at x, y."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    frame = np.full((*SIZE, 3), shade, np.uint8)
    if face:
        frame[(rows - y) ** 2 + (columns - x) ** 2 < RADIUS**2] = 250
    return frame


class DiscFinder:
    """Finds the white disc: landmarks on its edge, forehead at its top, chin at its bottom."""

    def find(self, picture):
        ys, xs = np.nonzero(picture.min(-1) > 200)
        if len(xs) < 1000:
            return []
        x, y, r = (xs.min() + xs.max() + 1) / 2, (ys.min() + ys.max() + 1) / 2, (ys.max() - ys.min() + 1) / 2
        angle = np.linspace(0, 2 * np.pi, 468, endpoint=False)
        points = np.stack([x + r * np.cos(angle), y + r * np.sin(angle), 0 * angle], 1).astype(np.float32)
        points[10, :2], points[152, :2] = (x, y - r), (x, y + r)
        return [SimpleNamespace(box=(x - r, y - r, x + r, y + r), landmarks=points)]


def write_video(path, frames, tone=None):
    """Frames to an H.264 file at 25 fps; with `tone` Hz as sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = f"{SIZE[1]}x{SIZE[0]}"
    command = [
        ffmpeg(),
        "-v",
        "error",
        "-y",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        size,
        "-r",
        "25",
        "-i",
        "pipe:0",
    ]
    if tone:
        command += ["-f", "lavfi", "-i", f"sine=frequency={tone}:sample_rate=44100", "-shortest", "-c:a", "aac"]
    command += ["-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=b"".join(f.tobytes() for f in frames), check=True)


def arguments(videos, out, *more):
    return prepare_data.parse([str(videos), "-o", str(out), "--min-face", "50", *more])


def made_track(found, change=None, jump=None):
    """A Track of one disc; `jump` moves it from that frame on."""
    points = DiscFinder().find(disc(100, 90))[0].landmarks
    landmarks = np.repeat(points[None], len(found), 0)
    if jump is not None:
        landmarks[jump:, :, 0] += 60
    change = np.zeros(len(found), np.float32) if change is None else np.float32(change)
    return prepare_data.Track(change, landmarks, np.asarray(found, bool))


def test_cuts_at_scene_jump_and_long_loss_but_not_at_short_loss():
    plain = np.ones(200, bool)
    assert prepare_data.segments(made_track(plain), 2, 12, 50) == [(0, 200)]
    change = np.zeros(200)
    change[120] = 90
    assert prepare_data.segments(made_track(plain, change), 2, 12, 50) == [(0, 120), (120, 200)]
    assert prepare_data.segments(made_track(plain, change), 2, 12, 50, 95) == [(0, 200)]
    assert prepare_data.segments(made_track(plain, jump=80), 2, 12, 50) == [(0, 80), (80, 200)]
    short, long = plain.copy(), plain.copy()
    short[60:64], long[60:90] = False, False
    assert prepare_data.segments(made_track(short), 2, 12, 50) == [(0, 200)]
    assert prepare_data.segments(made_track(long), 2, 12, 50) == [(0, 60), (90, 200)]


def test_short_small_and_empty_stretches_are_dropped_and_long_ones_divided():
    assert prepare_data.segments(made_track(np.ones(49)), 2, 12, 50) == []
    assert prepare_data.segments(made_track(np.ones(100)), 2, 12, 500) == []
    assert prepare_data.segments(made_track(np.zeros(100)), 2, 12, 50) == []
    pieces = prepare_data.segments(made_track(np.ones(700)), 2, 12, 50)
    assert len(pieces) == 3 and pieces[0][0] == 0 and pieces[-1][1] == 700
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))


def test_bridge_is_linear_between_known_frames():
    landmarks = np.zeros((5, 468, 3), np.float32)
    landmarks[4] = 8
    filled = prepare_data.bridge(landmarks, np.array([True, False, False, False, True]))
    np.testing.assert_allclose(filled[:, 0, 0], [0, 2, 4, 6, 8])


def test_track_keeps_to_the_face_it_began_with():
    finder = DiscFinder()
    tracked, other = finder.find(disc(60, 90))[0], finder.find(disc(180, 90))[0]
    orders = iter([[tracked, other], [other, tracked], [other, tracked]])
    video = prepare_data.track([disc(60, 90)] * 3, SimpleNamespace(find=lambda _: next(orders)))
    np.testing.assert_allclose(video.landmarks[:, 10, 0], 60, atol=1)


def test_cut_is_exact_inside_and_repeats_the_border_outside():
    frame = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    np.testing.assert_array_equal(prepare_data.cut(frame, 10, 20, 256), frame[20:276, 10:266])
    beyond = prepare_data.cut(frame, -100, 20, 256)
    assert (beyond[:, 50] == frame[20:276, 0]).all()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two people: anna's video has sound, a scene change and a gap; the other lies in the root and is silent."""
    root = tmp_path_factory.mktemp("videos")
    first = [disc(100 + 10 * np.sin(i / 9), 90, face=i not in (20, 21)) for i in range(60)]
    second = [disc(130, 80, shade=160) for _ in range(55)]
    write_video(root / "anna" / "talk one.mp4", first + second, tone=300)
    write_video(root / "bert.mp4", [disc(120, 90) for _ in range(60)])
    (root / "broken.mp4").write_bytes(b"no video at all")
    out = tmp_path_factory.mktemp("data")
    count = prepare_data.prepare(arguments(root, out), DiscFinder())
    return root, out, count


def test_every_clip_reads_back_through_the_training_reader(prepared):
    _, out, count = prepared
    clips = list(load_clips(out, ("train", "val")))
    assert count == len(clips) == 3
    assert [c.row["identity"] for c in clips] == ["anna", "anna", "bert"]
    assert [int(c.row["frames"]) for c in clips] == [60, 55, 60]
    for clip in clips:
        frames = decode_frames(clip.mp4)
        assert frames.shape == (int(clip.row["frames"]), 256, 256, 3)
        height = np.linalg.norm(clip.landmarks[:, 10, :2] - clip.landmarks[:, 152, :2], axis=-1)
        np.testing.assert_allclose(height, 0.55, atol=0.02)
        # The labels lie on the disc's edge in the pixels of the clip: landmarks and crop are one geometry.
        for frame, points in list(zip(frames, clip.landmarks, strict=True))[::13]:
            ys, xs = np.nonzero(frame.min(-1) > 200)
            if len(xs):
                found = [xs.min(), xs.max() + 1, ys.min(), ys.max() + 1]
                low, high = points[:, :2].min(0) * 256, points[:, :2].max(0) * 256
                np.testing.assert_allclose(found, [low[0], high[0], low[1], high[1]], atol=4)


def test_frames_without_a_face_are_flagged(prepared):
    _, out, _ = prepared
    clip = next(load_clips(out, ("train", "val")))
    assert np.flatnonzero(~clip.good).tolist() == [20, 21] and len(clip.good) == 60


def test_sound_is_cut_with_the_frames(prepared):
    _, out, _ = prepared
    clips = list(load_clips(out, ("train", "val")))
    assert [c.row["has_audio"] for c in clips] == ["yes", "yes", "no"]
    for clip in clips[:2]:
        speech, expected = decode_speech(clip.mp4), int(clip.row["frames"]) * 640
        assert abs(len(speech) - expected) <= 2048
        spectrum = np.abs(np.fft.rfft(speech[:16_000]))
        assert abs(int(spectrum.argmax()) - 300) <= 2
    with tarfile.open(out / "video" / "clips-0.tar") as tar:
        names = tar.getnames()
    assert sum(name.endswith(".wav") for name in names) == 2


def test_people_are_split_and_columns_are_the_layouts(prepared):
    _, out, _ = prepared
    with open(out / "video" / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == prepare_data.COLUMNS
    by_person = {row["identity"]: {r["split"] for r in rows if r["identity"] == row["identity"]} for row in rows}
    assert all(len(splits) == 1 for splits in by_person.values())
    assert {split for splits in by_person.values() for split in splits} == {"train", "val"}


def test_second_run_skips_what_is_done(prepared):
    root, out, count = prepared
    before = (out / "video" / "clips-0.tar").read_bytes()
    finder = SimpleNamespace(find=lambda _: pytest.fail("a video was read again"))
    assert prepare_data.prepare(arguments(root, out), finder) == count
    assert (out / "video" / "clips-0.tar").read_bytes() == before


def test_splits_are_by_person_and_stay():
    people = [f"p{i}" for i in range(20)]
    splits = prepare_data.assign_splits(people, 0.2, {})
    assert sorted(splits.values()).count("val") == 4
    later = prepare_data.assign_splits([*people, "new1", "new2"], 0.2, splits)
    assert {name: later[name] for name in people} == splits
    assert prepare_data.assign_splits(["only"], 0.5, {}) == {"only": "train"}


def test_person_of_a_video(tmp_path):
    assert prepare_data.person(tmp_path / "anna" / "b" / "x.mp4", tmp_path) == "anna"
    assert prepare_data.person(tmp_path / "carl_02.mp4", tmp_path) == "carl_02"
    assert prepare_data.person(tmp_path / "carl_02.mp4", tmp_path, "name") == "carl"
    assert prepare_data.person(tmp_path / "an_na" / "x.mp4", tmp_path, "name") == "an_na"


@pytest.mark.slow
def test_labels_and_scene_threshold_of_a_video(tmp_path):
    path = tmp_path / "carl_02.mp4"
    write_video(path, [disc(120, 90)] * 50 + [disc(120, 90, shade=160)] * 50)
    flags = ["--licence", "CC0", "--source", "studio", "--person", "name"]
    prepare_data.prepare(arguments(path, tmp_path / "one", *flags, "--scene", "200"), DiscFinder())
    (clip,) = load_clips(tmp_path / "one", ("train", "val"))
    assert (clip.row["licence"], clip.row["source"], clip.row["identity"]) == ("CC0", "studio", "carl")
    assert prepare_data.prepare(arguments(path, tmp_path / "two"), DiscFinder()) == 2


def test_folder_without_videos_is_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare_data, "make_finder", lambda *_: DiscFinder())
    assert prepare_data.main([str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: no video in ")
    assert isinstance(arguments(tmp_path, tmp_path), argparse.Namespace)
