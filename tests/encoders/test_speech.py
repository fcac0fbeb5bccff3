"""Speech features: their number, causality, level, silence, and pitch of a known tone."""

import math

import numpy as np
import pytest
import torch

from encoders import audio, speech
from encoders.speech import CLIP, SpeechFeatures


@pytest.fixture(scope="module")
def features():
    return SpeechFeatures()


def voice(seconds: float, pitch: float = 120.0) -> torch.Tensor:
    """A buzzing tone with falling overtones and a syllable rhythm of 4 Hz."""
    time = torch.arange(int(seconds * 16_000)) / 16_000
    buzz = sum(torch.sin(2 * math.pi * pitch * k * time) / k for k in range(1, 20))
    return 0.05 * buzz * (0.6 + 0.4 * torch.sin(2 * math.pi * 4 * time))


@pytest.mark.parametrize("samples", [1, 639, 640, 641, 16_000, 16_001])
def test_one_row_per_video_frame(features, samples):
    result = features(torch.randn(samples))
    assert result.shape == (math.ceil(25 * samples / 16_000), features.size)
    assert result.isfinite().all()


def test_size_is_what_the_sizes_say():
    small = SpeechFeatures(n_mels=20, per_frame=2, pitch=False)
    assert small.size == 41
    assert small(torch.randn(3200)).shape == (5, 41)


def test_batch_equals_one_by_one(features):
    sound = torch.stack([voice(1), voice(1, 200)])
    assert torch.allclose(features(sound)[1], features(sound[1]), atol=1e-4)


@pytest.mark.slow  # librosa compiles itself on its first import, in some 15 s
def test_mel_agrees_with_librosa(features):
    """Our frames are centred on their hop, librosa's on its beginning: shift by half a hop and compare."""
    import librosa

    sound = voice(1)
    options = dict(n_fft=1024, win_length=400, hop_length=160, fmin=60, fmax=8000, n_mels=80, htk=True, norm=None)
    shifted = np.pad(sound[80:].numpy(), (0, 80))
    power = torch.from_numpy(librosa.feature.melspectrogram(y=shifted, sr=16_000, pad_mode="constant", **options))
    weights = torch.from_numpy(librosa.filters.mel(sr=16_000, n_fft=1024, fmin=60, n_mels=80, htk=True, norm=None))
    expected = power / weights.sum(1, keepdim=True) / torch.hann_window(400).square().sum()
    expected = expected.clamp(min=1e-7).log().T[:100]
    assert torch.allclose(features.log_mel(sound[None])[0, 4:96], expected[4:96], atol=0.02)


@pytest.mark.slow  # librosa compiles itself on its first import, in some 15 s
def test_features_are_the_same_without_torchaudio(features, monkeypatch):
    monkeypatch.setattr(audio, "torchaudio_functional", lambda: None)
    sound = voice(2) + 0.01 * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(SpeechFeatures()(sound), features(sound), atol=1e-4, rtol=0)


@pytest.mark.slow  # librosa compiles itself on its first import, in some 15 s
def test_pitch_agrees_with_librosa(features):
    """A voice that glides by an octave, in half a second of silence on each side."""
    import librosa

    time = torch.arange(32_000) / 16_000
    phase = (2 * math.pi * 110 * 2 ** (time / 2)).cumsum(0) / 16_000
    sound = torch.nn.functional.pad(sum((k * phase).sin() / k for k in range(1, 12)) * 0.05, (8000, 8000))
    voicing, octaves = speech.voicing_and_pitch(sound)
    centred = np.pad(sound.numpy(), (512 - 320, 512))  # librosa's windows begin at their hop, ours are centred on it
    hertz = librosa.yin(centred, fmin=60, fmax=400, sr=16_000, frame_length=1024, hop_length=640, center=False)
    voiced = voicing > 0.9
    expected = torch.from_numpy(hertz[: len(voicing)]).div(150).log2().float()
    assert voiced[14:61].all() and voicing[:11].max() == 0 == voicing[-11:].max()
    assert (octaves - expected)[14:61].abs().max() < 0.05


def test_the_past_does_not_know_the_future(features):
    """Frames up to 1 s do not change when what follows changes, but for the window's 32 ms."""
    sound = voice(2)
    changed = sound.clone()
    changed[16_000:] = torch.randn(16_000)
    assert torch.allclose(features(sound)[:24], features(changed)[:24], atol=1e-4)
    assert not torch.allclose(features(sound)[26:], features(changed)[26:], atol=0.1)


def test_level_fades_from_the_features(features):
    """After some seconds of speech 12 dB softer, features are nearly those of the louder one."""
    sound = voice(12)
    soft = features(sound * 0.25)[-50:, : features.size - 2]
    assert (features(sound)[-50:, : features.size - 2] - soft).abs().mean() < 0.25


def test_silence_is_quiet_and_flat(features):
    result = features(torch.zeros(48_000))
    assert result.isfinite().all() and result.abs().max() <= CLIP
    assert result.std(0).max() < 0.01
    after_speech = features(torch.cat([voice(3), torch.zeros(48_000)]))[80:]
    assert after_speech[:, -2:].abs().max() == 0  # neither voice nor pitch
    assert after_speech[:, : features.size - 2].mean() < -2


def test_noise_floor_is_no_voice(features):
    noise = 1e-4 * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    assert features.pitch(noise[None])[..., 0].mean() < 0.05


@pytest.mark.parametrize("pitch", [80.0, 120.0, 210.0, 330.0])
def test_pitch_of_a_known_tone(features, pitch):
    voicing, octaves = features.pitch(voice(1, pitch)[None])[0, 2:-2].unbind(-1)
    assert voicing.min() > 0.9
    assert torch.allclose(octaves / voicing, torch.tensor(math.log2(pitch / 150)), atol=0.05)


def test_gain_is_that_of_the_samples(features, monkeypatch):
    """Piece by piece, so that no louder copy of a long recording is held."""
    monkeypatch.setattr(speech, "CHUNK_FRAMES", 10)
    sound = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * 0.03
    torch.testing.assert_close(features(sound, 4.0), features(4 * sound), atol=1e-4, rtol=1e-4)
    assert (features(sound, 4.0) - features(sound)).abs().max() > 0.1
    level = audio.level_gain(sound)
    torch.testing.assert_close(features(sound, level), features(audio.normalise_level(sound)), atol=1e-4, rtol=1e-4)


def test_long_recordings_are_measured_in_pieces(features, monkeypatch):
    """The seam between two pieces is not heard: the same features as in one go."""
    sound = voice(3) + 0.01 * torch.randn(48_000)
    whole = features(sound)
    monkeypatch.setattr(speech, "CHUNK_FRAMES", 20)
    assert torch.allclose(features(sound), whole, atol=1e-5)
