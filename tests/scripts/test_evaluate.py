"""The command: the report's keys, its errors, its sheets."""

import json

import numpy as np
import pytest

from scripts import contact_sheet, evaluate
from scripts.evaluation.clips import ExternalVideos
from scripts.evaluation.report import check_targets

READ_CLIPS = "scripts.evaluation.session.read_clips"


def report_of(monkeypatch, tmp_path, fakes, *more):
    """The whole report of the oracle over one made-up clip, as main() would print it."""
    known = fakes.clip()
    monkeypatch.setattr(READ_CLIPS, lambda *_: iter([known]))
    arguments = ["--data", "none", "--stride", "13", "--samples", "1", "--out", str(tmp_path)]
    arguments = evaluate.parse([*arguments, "--identity-network", "none", *more])
    return evaluate.evaluate(fakes.Oracle(known), arguments)


@pytest.mark.slow
def test_report_has_the_contracts_keys_and_is_json(monkeypatch, tmp_path, fakes):
    report = json.loads(json.dumps(report_of(monkeypatch, tmp_path, fakes), allow_nan=False))
    assert {"model", "split", "clips", "self_reenactment", "copy", "audio_driven"} <= set(report)
    for part in ("self_reenactment", "copy"):
        assert {"psnr", "psnr_face", "ssim", "landmark"} <= set(report[part])
    wanted = {"lip_correlation", "lip_lag_frames", "loudness_baseline", "shuffled", "silence_ratio"}
    assert wanted <= set(report["audio_driven"])
    assert (tmp_path / "0.png").is_file()
    assert all(reached for what, _, _, reached in check_targets(report) if what.startswith(("gain", "landmark")))


def test_a_split_without_clips_is_a_usage_error(monkeypatch, fakes):
    monkeypatch.setattr(READ_CLIPS, lambda *_: iter([]))
    with pytest.raises(ValueError, match="no clips"):
        evaluate.evaluate(fakes.Oracle(fakes.clip()), evaluate.parse(["--data", "x", "--split", "no"]))


def test_a_part_that_is_done_is_not_done_again(monkeypatch, tmp_path, fakes):
    def lip_r(*options):
        return report_of(monkeypatch, tmp_path, fakes, "--parts", "codes", *options)["codes"]["lip_r"]

    first, stored = lip_r(), tmp_path / "parts" / "codes.json"

    def plant():
        stored.write_text(stored.read_text().replace('"lip_r": ', '"lip_r": 0.123, "was": '))

    plant()
    assert lip_r() == first == lip_r("--resume")  # without --resume it was made anew and written again
    plant()
    assert lip_r("--resume") == 0.123
    assert lip_r("--resume", "--stride", "7") == first  # other settings: made again


@pytest.mark.slow
def test_videos_of_another_system_get_the_same_table(monkeypatch, tmp_path, fakes):
    known = fakes.clip()
    monkeypatch.setattr(READ_CLIPS, lambda *_: iter([known]))
    monkeypatch.setattr("scripts.evaluation.clips.read_frames", lambda *_: iter(known.frames))
    (tmp_path / "0.mp4").touch()
    arguments = evaluate.parse(
        ["--data", "none", "--stride", "5", "--outputs", str(tmp_path), "--identity-network", "none"]
    )
    report = evaluate.evaluate(fakes.Oracle(known), arguments, ExternalVideos(str(tmp_path)))
    assert report["self_reenactment"]["psnr"] == 100 and report["copy"]["psnr"] < 10
    assert report["audio_driven"]["lip_correlation"] == pytest.approx(1, abs=1e-5)
    assert report["audio_driven"]["silence_ratio"] is None and report["missing"] == []


def test_what_videos_cannot_tell_is_refused(capsys):
    with pytest.raises(SystemExit):
        evaluate.parse(["--data", "x", "--outputs", "y", "--parts", "hal"])
    assert "allowed are reenactment audio" in capsys.readouterr().err


def test_options_of_the_lips_without_the_lips_are_refused(capsys):
    with pytest.raises(SystemExit):
        evaluate.parse(["--data", "x", "--parts", "audio", "--lips", "y"])
    assert "add lips to the parts" in capsys.readouterr().err


def test_missing_data_folder_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, fakes):
    monkeypatch.setattr(evaluate, "ModelUnderTest", lambda *_: fakes.Oracle(fakes.clip()))
    assert evaluate.main(["--data", str(tmp_path / "nowhere"), "--json"]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("error: ") and output.err.count("\n") == 1


def test_contact_sheet_keeps_every_pixel():
    frames = [np.full((8, 10, 3), value, np.uint8) for value in (10, 20, 30)]
    picture = contact_sheet.sheet([("one", frames), ("two", frames[:1])])
    assert picture.shape == (2 * (8 + contact_sheet.BAR), 30, 3)
    assert (picture[contact_sheet.BAR : contact_sheet.BAR + 8, 10:20] == 20).all()
    assert (picture[-8:, 10:] == 0).all() and (picture[-8:, :10] == 10).all()


def test_evenly_spread_columns():
    assert contact_sheet.evenly(100, 5) == [0, 25, 50, 74, 99]
    assert contact_sheet.evenly(2, 5) == [0, 1]
