"""Train the phonetic encoder: phones and visemes from log-mel, 50 times a second.

    python -m scripts.train_speech_encoder --phones DIR --delay 20 --width 320 --out runs/phonetic-teacher
    python -m scripts.train_speech_encoder --phones DIR --unlabelled DIR --teacher runs/phonetic-teacher

Frame cross-entropy where the phones are known, CTC where only an IPA string is, and everywhere the soft answers of a
teacher on the sound as it was recorded, while the network hears it through other microphones and rooms ("noisy
student", Xie et al. 2020). The teacher is a run that looks further ahead, or the running mean of the network itself
(Tarvainen and Valpola 2017) from --self-training on.

Kill it whenever you like: the same command continues from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.network_config import PhoneticConfig, SpeechConfig, from_dict, to_dict
from encoders.phonetic import VISEME_OF_TOKEN, PhoneticEncoder
from encoders.speech import SpeechFeatures
from scripts.training.engine import fit, open_run, start
from scripts.training.loop import load_module, weights_of
from scripts.training.phonetic_data import SAMPLES_PER_PHONE, PhoneticBatch, PhoneticExamples
from scripts.training.recipe import Recipe, add_dtype, command, take_recipe, training_parser
from scripts.training.sound_augment import SoundAugment
from scripts.training.speech_corpus import ACCENTED, IGNORED, Recording, cached, labelled, unlabelled

RECIPE = Recipe(steps=20000, batch=16, lr=1.5e-3, clip=1.0, warm=300, decay=0.999, score=1000)
UNLABELLED_SHARE = 0.3  # of a batch
UTTERANCES = 2  # with IPA, per batch
SMOOTHING = 0.05  # of the labels: two aligners agree on 86% of the frames
SOFT_WEIGHT = 1.0  # of the teacher's answers
CTC_WEIGHT = 0.3
VISEMES = torch.tensor(VISEME_OF_TOKEN)


class PhoneticObjective(nn.Module):
    """Network and losses as one module. teacher: gives soft answers from step `since` on; None: labels only."""

    def __init__(self, network: PhoneticEncoder, dtype: str) -> None:
        super().__init__()
        self.network, self.bf16 = network, dtype == "bfloat16"
        self.teacher: list[PhoneticEncoder] = []  # a list, so that its weights are not this module's
        self.since = 0

    def forward(self, batch: PhoneticBatch, step: int) -> tuple[dict[str, Tensor], dict]:
        """A batch -> losses with their `total`, and nothing else."""
        with torch.autocast(batch.mel.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.network(batch.mel)[0]
        logits = named(logits.float(), self.network.delay)
        phones = batch.phones[:, : logits.shape[1]]
        frames = F.cross_entropy(
            logits.flatten(0, 1), phones.flatten(), ignore_index=IGNORED, label_smoothing=SMOOTHING
        )
        losses = {"frames": frames, "total": frames}
        if self.teacher and step >= self.since:
            with torch.no_grad(), torch.autocast(batch.mel.device.type, torch.bfloat16, enabled=self.bf16):
                answers = named(self.teacher[0](batch.clean)[0].float(), self.teacher[0].delay).softmax(-1)
            count, bare = min(answers.shape[1], logits.shape[1]), (batch.phones == IGNORED).all(1)
            heard = logits[bare, :count].log_softmax(-1)
            soft = -(answers[bare, :count] * heard).sum(-1).mean() if len(heard) else frames * 0
            losses |= {"soft": soft, "total": losses["total"] + SOFT_WEIGHT * soft}
        if batch.tokens:
            spoken = self.connectionist(batch)
            losses |= {"ctc": spoken, "total": losses["total"] + CTC_WEIGHT * spoken}
        return losses, {}

    def connectionist(self, batch: PhoneticBatch) -> Tensor:
        """CTC over whole utterances (Graves et al. 2006), per token; silence is the blank."""
        with torch.autocast(batch.mel.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.network(batch.spoken)[0]
        likely = logits.float().log_softmax(-1).transpose(0, 1)
        lengths = batch.lengths.clamp(max=len(likely))
        sizes = torch.tensor([len(tokens) for tokens in batch.tokens])
        return F.ctc_loss(likely, torch.cat(batch.tokens), lengths, sizes, zero_infinity=True)


def named(logits: Tensor, delay: int) -> Tensor:
    """Outputs [B,J,V] -> the logits of frames 0 ... J - 1 - delay."""
    return logits[:, delay:]


@torch.inference_mode()
def recognise(network: PhoneticEncoder, features: SpeechFeatures, recording: Recording) -> Tensor:
    """Token logits [J,V] of a whole recording, frame k at k / 50 s; the end is heard in silence."""
    sound = torch.from_numpy(np.asarray(recording.sound, np.float32) / 32768)
    sound = F.pad(sound, (0, (network.delay + 2) * SAMPLES_PER_PHONE))
    mel = features.normalise(features.log_mel(sound[None]))[0]
    return named(network(mel)[0], network.delay)[0]


def accuracy(network: PhoneticEncoder, features: SpeechFeatures, recordings: Sequence[Recording]) -> dict[str, float]:
    """Shares of frames, phones and visemes, in native and in learners' English; phone error rate of other languages."""
    from torchaudio.functional import edit_distance

    counts: dict[str, Tensor] = defaultdict(lambda: torch.zeros(3))
    errors: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for recording in recordings:
        answers = recognise(network, features, recording).argmax(-1)
        if recording.phones is not None:
            kind = "accented" if recording.corpus.startswith(ACCENTED) else "native"
            truth = torch.from_numpy(recording.phones)[: len(answers)]
            answers = answers[: len(truth)]
            known = truth != IGNORED
            right = (answers == truth)[known].sum()
            seen = (VISEMES[answers] == VISEMES[truth.clamp(min=0)])[known].sum()
            counts[kind] += torch.tensor([right, seen, known.sum()])
        else:
            collapsed = torch.unique_consecutive(answers)
            said = [token for token in collapsed.tolist() if token]
            errors[recording.language][0] += edit_distance(said, list(recording.tokens))
            errors[recording.language][1] += len(recording.tokens)
    scores = {}
    for kind, (right, seen, frames) in counts.items():
        scores |= {f"phones_{kind}": float(right / frames), f"visemes_{kind}": float(seen / frames)}
    return scores | {f"per_{language}": wrong / max(total, 1) for language, (wrong, total) in errors.items()}


def load_teacher(source: str) -> PhoneticEncoder:
    """The network of another run, or of a file of weights, in evaluation mode."""
    path = weights_of(source)
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    network = PhoneticEncoder(**to_dict(from_dict(PhoneticConfig, config["phonetic"])))
    load_module(network, path, "phonetic")
    return network.eval().requires_grad_(False)


def corpora(options: argparse.Namespace) -> tuple[list[Recording], list[Recording], list[Recording]]:
    """Labelled recordings, those without labels, and val, from the cache."""
    train, val, silent = [], [], []
    for folder in options.phones:
        name = Path(folder).resolve().name
        train += cached(f"{name}-train", options.cache, lambda folder=folder: labelled(folder, "train"))
        val += cached(f"{name}-val", options.cache, lambda folder=folder: labelled(folder, "val"))
    known = {recording.id for recording in train + val}
    for folder in options.unlabelled:
        name = Path(folder).resolve().name
        recordings = cached(f"{name}-sound", options.cache, lambda folder=folder: unlabelled(folder))
        silent += [recording for recording in recordings if recording.id not in known]
    return train, silent, val


@command
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    recipe = take_recipe(options, RECIPE)
    engine = start(options)
    train, silent, val = corpora(options)
    features = SpeechFeatures(pitch=False)
    config = PhoneticConfig(width=options.width, delay=options.delay, dropout=options.dropout)
    network = PhoneticEncoder(**to_dict(config))
    if options.start:
        load_module(network, options.start, "phonetic")
    objective = PhoneticObjective(network, options.dtype).to(engine.device)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.lr, betas=(0.9, 0.98), weight_decay=0.05)
    configs = {"phonetic": to_dict(config), "speech": to_dict(SpeechConfig())}
    run = open_run(engine, options, recipe, {"phonetic": network}, optimizer, configs)
    if options.teacher:
        objective.teacher = [load_teacher(options.teacher).to(engine.device)]
    elif options.self_training:
        objective.teacher, objective.since = [run.averaged("phonetic")], options.self_training
    noises = [recording.sound for recording in silent if recording.seconds > 3]
    for folder in options.noises:
        noises += 20 * [
            r.sound for r in cached(f"{Path(folder).name}-noise", options.cache, lambda f=folder: unlabelled(f))
        ]
    examples = PhoneticExamples(train, silent, features, SoundAugment(noises))
    kinds = {"phones": examples.framed, "IPA": examples.spoken, "no labels": silent, "val": val}
    minutes = (f"{name} {sum(r.seconds for r in recordings) / 60:.0f}" for name, recordings in kinds.items())
    print("minutes:", ", ".join(minutes), flush=True)
    bare = int(UNLABELLED_SHARE * recipe.batch) if silent and objective.teacher else 0

    def draw(step: int, seed: int) -> PhoneticBatch:
        parts = examples.batch(recipe.batch - bare, bare, UTTERANCES, seed)
        return PhoneticBatch(*(x.to(engine.device) if isinstance(x, Tensor) else x for x in parts))

    def report(batch: PhoneticBatch, outputs: dict) -> None:
        if val:
            run.scores(accuracy(run.averaged("phonetic"), features, val))

    fit(run, engine, objective.train(), draw, report)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = training_parser(__doc__, RECIPE, out="runs/phonetic", device="cpu", threads=1)
    parser.add_argument("--phones", nargs="+", required=True, metavar="DIR", help="labelled folders; see speech_corpus")
    parser.add_argument("--unlabelled", nargs="*", default=[], metavar="DIR", help="folders of speech without labels")
    parser.add_argument("--noises", nargs="*", default=[], metavar="DIR", help="folders of noise to mix in")
    parser.add_argument("--teacher", metavar="RUN", help="a run that gives soft answers")
    parser.add_argument(
        "--self-training", type=int, default=0, metavar="STEP", help="step from which the running mean teaches; 0 never"
    )
    parser.add_argument("--width", type=int, default=PhoneticConfig.width)
    parser.add_argument("--delay", type=int, default=PhoneticConfig.delay, help="look-ahead in frames of 20 ms")
    parser.add_argument("--dropout", type=float, default=PhoneticConfig.dropout)
    parser.add_argument("--cache", default="runs/cache/speech", help="decoded recordings")
    add_dtype(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
