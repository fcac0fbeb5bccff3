"""Phonetic encoder: causality, arriving speech, sizes, tokens and visemes."""

import pytest
import torch

from encoders.phonetic import ENGLISH, TOKENS, VISEME_OF_TOKEN, VISEMES, PhoneticEncoder, PhoneticState
from encoders.speech import RunningStats, SpeechFeatures


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return PhoneticEncoder(width=32, dilations=(1, 2, 4), activations=16).eval()


def test_two_answers_per_video_frame(encoder):
    logits, hidden = encoder(torch.randn(2, 40, 80))
    assert logits.shape == (2, 20, len(TOKENS)) and hidden.shape == (2, 20, 16)
    described = encoder.describe(torch.randn(2, 40, 80))
    assert described.shape == (2, 10, encoder.size)
    posteriors = described[..., : 2 * len(TOKENS)].unflatten(-1, (2, -1)).sum(-1)
    assert torch.allclose(posteriors, torch.ones(2, 10, 2), atol=1e-5)


@torch.no_grad()
def test_no_answer_hears_what_comes_after_it(encoder):
    mel = torch.randn(1, 40, 80)
    later = mel.clone()
    later[:, 22:] = torch.randn(1, 18, 80)
    before, after = encoder(mel)[0], encoder(later)[0]
    assert torch.equal(before[:, :11], after[:, :11]) and not torch.allclose(before[:, 11], after[:, 11])


@torch.no_grad()
def test_arriving_speech_gets_the_answers_of_the_whole(encoder):
    mel, state = torch.randn(1, 64, 80), PhoneticState()
    pieces = [encoder.describe(piece, state) for piece in mel.split([4, 12, 8, 40], 1)]
    assert torch.allclose(torch.cat(pieces, 1), encoder.describe(mel), atol=1e-5)


@torch.no_grad()
def test_features_have_the_phones_last_and_chunks_do_not_show(encoder, monkeypatch):
    features, sound = SpeechFeatures(phonetic=encoder), 0.1 * torch.randn(40 * 640)
    whole = features(sound)
    assert whole.shape == (40, features.size) and features.size == 323 + encoder.size
    assert torch.equal(whole[:, : features.acoustic_size], SpeechFeatures()(sound))
    monkeypatch.setattr("encoders.speech.CHUNK_FRAMES", 7)
    assert torch.allclose(features(sound), whole, atol=1e-4)
    assert RunningStats().phonetic is not RunningStats().phonetic


def test_a_delay_below_zero_or_another_frame_rate_is_refused():
    with pytest.raises(ValueError, match="-1"):
        PhoneticEncoder(delay=-1)
    with pytest.raises(ValueError, match="needs 4"):
        SpeechFeatures(per_frame=2, phonetic=PhoneticEncoder(width=8, dilations=(1,)))


def test_every_phone_has_a_viseme():
    assert len(TOKENS) == len(set(TOKENS)) == len(VISEME_OF_TOKEN) and len(ENGLISH) == 40
    assert [token for token, viseme in zip(TOKENS, VISEME_OF_TOKEN, strict=True) if viseme == 0] == [""]
    assert {TOKENS[k] for k, v in enumerate(VISEME_OF_TOKEN) if VISEMES[v] == "pbm"} == {"p", "b", "m"}
