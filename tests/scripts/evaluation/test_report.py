"""The page, its figures and the intervals beside them; targets that are reached, missed or not spoken of."""

import json

from scripts.evaluation import report

REPORT = {
    "model": "lite",
    "split": "val",
    "gain": {"psnr": {"mean": 2.5, "interval": [2.0, 3.1]}, "psnr_face": {"mean": 8.0, "interval": [7.0, 9.0]}},
    "self_reenactment": {"psnr": 21.0, "landmark": 0.0155, "interval": {"psnr": [20.0, 22.0]}},
    "audio_driven": {"lip_correlation": 0.6, "interval": [0.5, 0.7], "spread_ratio": 1.3, "per_clip": [1.0, 2.0]},
}


def test_page_has_targets_figures_intervals_and_sheets(tmp_path):
    (tmp_path / "clip.png").touch()
    text = report.write(REPORT, tmp_path).read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text()) == REPORT
    assert "# lite on val" in text and "| psnr | 21 | [20, 22] |" in text and "[0.5, 0.7]" in text
    assert "| >= 3 | missed |" in text and "reached" in text and "![clip.png](clip.png)" in text


def test_intervals_stand_beside_their_figure():
    rows = {name: interval for name, _, interval in report.flat(REPORT["audio_driven"])}
    assert rows == {"lip_correlation": "[0.5, 0.7]", "spread_ratio": ""}
    both = {"blinks": 7.0, "blinks_interval": [1.0, 9.0], "jitter": 0.5, "jitter_interval": [0.1, 0.9]}
    assert dict((n, i) for n, _, i in report.flat(both)) == {"blinks": "[1, 9]", "jitter": "[0.1, 0.9]"}


def test_targets_say_what_is_reached():
    rows = {(what, limit): (value, reached) for what, value, limit, reached in report.check_targets(REPORT)}
    assert rows["gain on copying, whole crop (dB)", ">= 3"] == (2.5, False)
    assert rows["gain on copying, face (dB)", ">= 7.5"] == (8.0, True)
    assert rows["spread of the opening", ">= 0.8"][1] and not rows["spread of the opening", "<= 1.25"][1]
    assert len(rows) == 6 and report.check_targets({}) == []
    assert all(side in ("<=", ">=") for _, _, side, _ in report.TARGETS)
