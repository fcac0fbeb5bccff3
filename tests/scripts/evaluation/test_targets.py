"""Targets that a report reaches, misses or does not speak of."""

from scripts.evaluation.targets import TARGETS, check_targets

REPORT = {
    "gain": {"psnr": {"mean": 2.5}, "psnr_face": {"mean": 8.0}},
    "self_reenactment": {"landmark": 0.0155},
    "audio_driven": {"lip_correlation": 0.6, "spread_ratio": 1.3},
}


def test_targets_say_what_is_reached():
    rows = {(what, limit): (value, reached) for what, value, limit, reached in check_targets(REPORT)}
    assert rows["gain on copying, whole crop (dB)", ">= 3"] == (2.5, False)
    assert rows["gain on copying, face (dB)", ">= 7.5"] == (8.0, True)
    assert rows["spread of the opening", ">= 0.8"][1] and not rows["spread of the opening", "<= 1.25"][1]
    assert len(rows) == 6 and check_targets({}) == []
    assert all(side in ("<=", ">=") for _, _, side, _ in TARGETS)
