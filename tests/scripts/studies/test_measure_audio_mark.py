"""The mark of sound measured on one recording: found after an attack, and counted where it is not."""

import json

import numpy as np
import pytest

from anitalker.media.filtered_sound import RATE
from anitalker.media.video import read_audio
from scripts import study
from scripts.studies import measure_audio_mark


@pytest.mark.slow
def test_a_recording_is_attacked_and_searched(root, tmp_path, monkeypatch, capsys):
    recording = read_audio(root / "app/examples/speech.flac", RATE)
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech/a.flac").touch()
    real = measure_audio_mark.read_audio
    monkeypatch.setattr(
        measure_audio_mark, "read_audio", lambda path, *rate: recording if path.suffix == ".flac" else real(path, *rate)
    )
    kept = {name: measure_audio_mark.ATTACKS[name] for name in ("as made", "AAC, 96 kbit/s")}
    monkeypatch.setattr(measure_audio_mark, "ATTACKS", kept)
    assert study.main(["measure_audio_mark", "--data", str(tmp_path), "--seconds", "4", "--unmarked", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recordings"] == 1 and 20 < report["segmental_snr_min"] <= report["segmental_snr_mean"] < 50
    assert {attack["found"] for attack in report["attacks"].values()} == {1}
    assert report["unmarked"]["files"] == 3 and report["unmarked"]["false_alarms"] == 0


def test_the_segmental_snr():
    """A tenth of the amplitude is 20 dB; silence does not count."""
    tone = np.sin(np.arange(2 * RATE) / 9).astype(np.float32)
    tone[RATE:] = 0
    changed = tone * np.float32(1.1)
    changed[RATE:] = 0.5
    assert measure_audio_mark.segmental_snr(tone, changed) == pytest.approx(20, abs=0.01)
