"""Batches for the phonetic encoder: crops of speech, changed as sound, beside the same crops as they were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from anitalker.config import SAMPLE_RATE
from encoders.speech import SpeechFeatures
from scripts.training.sound_augment import SoundAugment
from scripts.training.speech_corpus import ACCENTED, IGNORED, PHONE_RATE, Recording

CROP_SECONDS = 4.0
LONGEST_UTTERANCE = 8.0  # seconds; CTC needs whole utterances
SAMPLES_PER_PHONE = SAMPLE_RATE // PHONE_RATE
ACCENTED_WEIGHT = 0.5  # of learners' English, whose labels say what the dictionary says


class PhoneticBatch(NamedTuple):
    """mel [B,K,n_mels], changed; clean [B,K,n_mels]; phones int64 [B,J], IGNORED where there is no label.

    spoken [C,K',n_mels], tokens (C sequences), lengths [C] in phone frames: whole utterances for CTC.
    """

    mel: Tensor
    clean: Tensor
    phones: Tensor
    spoken: Tensor
    tokens: list[Tensor]
    lengths: Tensor


class PhoneticExamples:
    """Draws batches: labelled crops, crops without labels, whole utterances with IPA.

    features: whose log-mel the encoder hears; augment: changes the sound.
    """

    def __init__(
        self,
        labelled: Sequence[Recording],
        unlabelled: Sequence[Recording],
        features: SpeechFeatures,
        augment: SoundAugment,
    ) -> None:
        self.framed = [recording for recording in labelled if recording.phones is not None]
        self.spoken = [r for r in labelled if r.tokens and r.seconds <= LONGEST_UTTERANCE]
        self.unlabelled, self.features, self.augment = list(unlabelled), features, augment
        weights = [
            min(r.seconds, 12.0) * (ACCENTED_WEIGHT if r.corpus.startswith(ACCENTED) else 1.0) for r in self.framed
        ]
        self.share = np.array(weights) / max(sum(weights), 1e-9)
        lengths = np.array([min(r.seconds, 20.0) for r in self.unlabelled])
        self.unlabelled_share = lengths / max(lengths.sum(), 1e-9)
        # Every language as often as another, whatever there is of it.
        count = {r.language: 0 for r in self.spoken}
        for recording in self.spoken:
            count[recording.language] += 1
        rarity = np.array([count[r.language] ** -0.5 for r in self.spoken])
        self.spoken_share = rarity / max(rarity.sum(), 1e-9)

    def batch(self, labelled: int, unlabelled: int, spoken: int, seed: int) -> PhoneticBatch:
        """So many crops and utterances of each kind; a seed repeats them."""
        rng = np.random.default_rng(seed)
        draws = [self.framed[i] for i in rng.choice(len(self.framed), labelled, p=self.share)]
        if self.unlabelled:
            draws += [self.unlabelled[i] for i in rng.choice(len(self.unlabelled), unlabelled, p=self.unlabelled_share)]
        crops = [crop(recording, rng) for recording in draws]
        clean = np.stack([sound for sound, _ in crops])
        changed = np.stack([self.augment(sound, rng) for sound in clean])
        mel = mask(self.mel(changed), rng)
        utterances = []
        if self.spoken and spoken:
            utterances = [self.spoken[i] for i in rng.choice(len(self.spoken), spoken, p=self.spoken_share)]
        sounds = [self.augment(change_speed(r.sound, rng.uniform(0.9, 1.1)), rng) for r in utterances]
        lengths = torch.tensor([len(sound) // (2 * SAMPLES_PER_PHONE) * 2 for sound in sounds], dtype=torch.int64)
        padded = np.zeros((len(sounds), max([*map(len, sounds), 2 * SAMPLES_PER_PHONE])), np.float32)
        for row, sound in zip(padded, sounds, strict=True):
            row[: len(sound)] = sound
        return PhoneticBatch(
            mel,
            self.mel(clean),
            torch.from_numpy(np.stack([phones for _, phones in crops])),
            mask(self.mel(padded), rng),
            [torch.tensor(r.tokens) for r in utterances],
            lengths,
        )

    @torch.no_grad()
    def mel(self, sounds: np.ndarray) -> Tensor:
        """float32 [B,N] -> normalised log-mel [B,K,n_mels]."""
        if not len(sounds):
            return torch.zeros(0, 4, self.features.n_mels)
        # One by one: a batch of spectra would not stay in the processor's cache.
        rows = [self.features.normalise(self.features.log_mel(torch.from_numpy(row)[None]))[0] for row in sounds]
        return torch.cat(rows)


def crop(recording: Recording, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A piece of CROP_SECONDS at another speed: sound float32 [N], phones int64 [J]; silence where it is shorter."""
    factor = rng.uniform(0.88, 1.13) if rng.random() < 0.7 else 1.0
    count = int(CROP_SECONDS * PHONE_RATE)
    needed = int(np.ceil(count * factor)) + 1
    whole = len(recording.sound) // SAMPLES_PER_PHONE
    first = int(rng.integers(0, max(1, whole - needed + 1)))
    piece = recording.sound[first * SAMPLES_PER_PHONE : (first + needed) * SAMPLES_PER_PHONE]
    sound = change_speed(piece, factor)[: count * SAMPLES_PER_PHONE]
    sound = np.pad(sound, (0, count * SAMPLES_PER_PHONE - len(sound)))
    if recording.phones is None:
        return sound, np.full(count, IGNORED, np.int64)
    places = first + np.round(np.arange(count) * factor).astype(int)
    inside = places < len(recording.phones)
    phones = recording.phones[places.clip(max=len(recording.phones) - 1)]
    return sound, np.where(inside, phones, IGNORED)


def change_speed(sound: np.ndarray, factor: float) -> np.ndarray:
    """int16 [N] played `factor` times as fast, voice and all -> float32 [N / factor], -1..1."""
    samples = np.asarray(sound, np.float32) / 32768
    if factor == 1:
        return samples
    return np.interp(np.arange(int(len(samples) / factor)) * factor, np.arange(len(samples)), samples).astype(
        np.float32
    )


def mask(mel: Tensor, rng: np.random.Generator) -> Tensor:
    """Hide two bands and two stretches of each row of [B,K,n_mels], in place (Park et al., "SpecAugment", 2019)."""
    for row in mel:
        for _ in range(2):
            band, time = int(rng.integers(0, row.shape[1])), int(rng.integers(0, row.shape[0]))
            row[:, band : band + int(rng.integers(0, 11))] = 0
            row[time : time + int(rng.integers(0, 11))] = 0
    return mel
