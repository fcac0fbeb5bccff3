"""Training of the motion generator on made-up clips: examples, losses, one short run, resuming, what is written."""

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anitalker.config import POSE_SIZE, GeneratorConfig, from_dict
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.windows import SamplingParams
from encoders.speech import SpeechFeatures
from scripts import train_generator
from scripts.training.motion_data import MotionClip, MotionExamples, load_motion
from scripts.training.motion_statistics import blink_course

ROW = {"speaking_visible": "yes", "has_audio": "yes", "generated": "no", "shard": "mixed-0", "identity": "a"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three clips whose first expression number is the loudness of their sound, and opens the lips."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("features")
    directions, _ = np.linalg.qr(rng.standard_normal((1404, 14)))
    rows = [
        {**ROW, "id": "one", "split": "train"},
        {**ROW, "id": "mute", "split": "train", "speaking_visible": "no", "identity": "b"},
        {**ROW, "id": "held", "split": "val", "identity": "c"},
    ]
    neutral = rng.standard_normal((468, 3)) * 0.2
    neutral[10], neutral[152], neutral[14] = [0, -0.5, 0], [0, 0.5, 0], neutral[13]
    for row in rows:
        loud = 0.5 + 0.5 * np.sin(np.arange(160) * 0.9)
        codes = 0.05 * rng.standard_normal((160, 20)).cumsum(0) / 10
        codes[:, POSE_SIZE] = loud
        sound = (rng.standard_normal(160 * 640) * 3000 * loud.repeat(640)).astype(np.int16)
        stored = {
            "codes": codes.astype(np.float32),
            "good": np.ones(160, np.uint8),
            "lips": loud.astype(np.float32),
            "eyes": rng.random(160, np.float32),
            "neutral": neutral.astype(np.float32),
            "sound": sound,
        }
        save_file(
            {name: torch.from_numpy(value) for name, value in stored.items()}, folder / f"{row['id']}.safetensors"
        )
    save_file(
        {"directions": torch.tensor(directions.T.reshape(14, 468, 3).copy(), dtype=torch.float32)},
        folder / "space.safetensors",
    )
    (folder / "clips.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def clips(folder):
    return load_motion(folder, "train")


@pytest.fixture
def examples(folder, clips):
    return MotionExamples(clips, SpeechFeatures(), train_generator.measure(folder, clips).spoken, seed=0)


@pytest.mark.parametrize(("p", "n"), [(1, 5), (25, 30), (25, 200)])
def test_windows_of_any_length(examples, p, n):
    batch = examples.batch(3, p, n)
    assert batch["speech"].shape == (3, p + n, examples.features.size)
    assert batch["motion"].shape == (3, p + n, 20) and batch["good"].shape == (3, p + n)
    assert all(value.isfinite().all() for value in batch.values() if value.is_floating_point())


def test_a_seed_repeats_the_batch(examples):
    examples.reseed(5)
    first = examples.batch(2, 1, 10)
    examples.reseed(5)
    assert all(torch.equal(first[name], value) for name, value in examples.batch(2, 1, 10).items())


def test_a_portrait_is_where_its_motion_begins(examples):
    batch = examples.batch(6, 1, 30)
    assert torch.allclose(batch["motion"][:, 0], batch["start"])
    assert (batch["motion"][:, 1] - batch["motion"][:, 0]).abs()[:, POSE_SIZE:].max() < 0.1


def test_mute_clips_teach_no_speech(examples, clips):
    assert [clip.speaks for clip in clips] == [True, False]
    examples.share = np.array([0.0, 1.0])
    assert examples.batch(3, 1, 10)["deaf"].all()


def test_silence_closes_the_lips_and_keeps_sound_and_codes_together(examples, clips):
    clip = clips[0]
    sound, codes, good = examples.silence(clip.sound, clip.codes, clip.good, 40, at=50)
    assert len(codes) == len(good) == 200 and len(sound) == 200 * 640
    spoken = codes @ examples.spoken
    assert np.abs(spoken[56:86]).max() < 1e-5 < np.abs(spoken[:50]).max()
    assert np.array_equal(codes[:50], clip.codes[:50]) and np.array_equal(codes[90:], clip.codes[50:])
    assert np.abs(sound[50 * 640 : 90 * 640]).max() < 0.01
    assert np.abs(np.diff(spoken[:, POSE_SIZE])).max() <= np.abs(np.diff(clip.codes[:, POSE_SIZE])).max()


@pytest.mark.parametrize("late", [2.0, -2.0, 1.25, -0.75])
def test_late_sound_comes_back_to_its_lips(clips, late):
    """A click in the sound `late` frames after frame 40 ends where frame 40 now is."""
    clip = replace(clips[0], sound=np.zeros(160 * 640, np.float32), codes=clips[0].codes.copy())
    clip.codes[40] = 9
    clip.sound[int((40 + late) * 640)] = 1
    clip.shift(late)
    assert len(clip.sound) == 640 * len(clip.codes) and len(clip.codes) == len(clip.good) == len(clip.lips) <= 160
    assert abs(int(clip.sound.argmax()) - 640 * int((clip.codes[:, 0] == 9).argmax())) <= 1


def test_sound_that_fits_nowhere_teaches_no_speech(clips):
    found = {"one": (1.0, 0.1)}
    clip = replace(clips[0])
    train_generator.apply_sync(found, [clip])
    assert clip.unrelated and not clip.speaks and len(clip.codes) == 160


def test_the_course_of_a_blink_is_found_and_closes_the_eyes():
    """Thirty made-up blinks on one direction that lowers the upper lids: the course begins and ends open."""
    face = np.load(Path(__file__).parent.parent / "canonical_face.npy")
    directions = np.zeros((14, 468, 3), np.float32)
    for upper, lower in ((160, 144), (158, 153), (385, 380), (387, 373)):
        directions[3, upper] = 0.5 * (face[lower] - face[upper])
    course = np.array([0.1, 0.4, 1.0, 0.7, 0.4, 0.2, 0.1], np.float32)
    codes = np.zeros((1500, 20), np.float32)
    for begin in range(20, 1480, 50):
        codes[begin : begin + 7, 9] = course
    eyes = 0.3 - 0.15 * codes[:, 9]
    row = {**ROW, "id": "blinker", "split": "train"}
    clip = MotionClip(row, codes, np.ones(1500, bool), np.zeros(1500 * 640, np.float32), 0 * eyes, eyes, face)
    found = blink_course([clip], directions)
    assert found.shape == (14, 20) and np.abs(found[[0, -1]]).max() < 1e-6
    assert found[5, 9] == pytest.approx(2.0, abs=0.1) == np.abs(found).max()  # half closed in the labels: twice as far


def test_controls_are_given_or_not_and_still_is_still():
    torch.manual_seed(0)
    motion, controls, given = train_generator.controls_of(torch.randn(200, 12, 20), 1)
    share = given[:, 0].mean(0)
    assert ((share > 0.15) & (share < 0.5)).all()
    still = (motion[..., :POSE_SIZE] == 0).all(-1).all(-1)
    assert 5 < still.sum() < 45 and given[still].min() == 1 and controls[still].abs().max() == 0


def test_loss_of_predicting_nothing_is_of_order_one_and_bad_frames_do_not_count(folder, clips):
    loss = train_generator.MotionLoss(train_generator.measure(folder, clips))
    clean, good = torch.randn(8, 60, 20), torch.ones(8, 60)
    place, _ = loss(torch.zeros_like(clean), clean, good)
    assert 2 < place < 4  # three terms
    good[:, 30:] = 0
    broken = clean.clone()
    broken[:, 30:] = 99
    assert loss(clean, broken, good)[0] == 0 and loss(clean, broken, good)[1] == 0


def test_loss_falls_on_one_batch(folder, clips, examples):
    torch.manual_seed(0)
    space = train_generator.measure(folder, clips)
    config = GeneratorConfig(
        width=32, layers=1, heads=2, motion_mean=tuple(space.mean), motion_std=tuple(space.std), dropout=0.0
    )
    network, loss = MotionGenerator(config), train_generator.MotionLoss(space)
    optimizer, batch = torch.optim.Adam(network.parameters(), 3e-3), examples.batch(8, 25, 20)
    seen = []
    for _ in range(40):
        total = sum(train_generator.train_step(network, loss, batch, 25).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        seen.append(float(total.detach()))
    assert np.isfinite(seen).all() and np.mean(seen[-5:]) < 0.75 * np.mean(seen[:5])


def test_a_run_is_resumed_and_its_weights_are_complete(folder, tmp_path, capsys):
    small = [
        "--features",
        str(folder),
        "--run",
        str(tmp_path / "run"),
        "--batch",
        "2",
        "--width",
        "16",
        "--layers",
        "1",
    ]
    train_generator.main([*small, "--steps", "2", "--validate-every", "2", "--accumulate", "2"])
    assert "val correlation" in capsys.readouterr().out
    train_generator.main([*small, "--steps", "3", "--validate-every", "0"])
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    path = tmp_path / "run" / "weights.safetensors"
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    network = MotionGenerator(from_dict(GeneratorConfig, config["generator"]))
    network.load_state_dict({name.removeprefix("generator."): value for name, value in load_file(path).items()})
    assert network.spoken.abs().sum() > 0 and config["speech"]["n_mels"] == 80
    space = train_generator.measure(folder, load_motion(folder, "train"))
    scores = train_generator.validate(
        network, SpeechFeatures(), load_motion(folder, "val"), space, SamplingParams(steps=1), 1
    )
    assert set(scores) == {"correlation", "spread", "shuffled", "silence"} and all(np.isfinite(list(scores.values())))


def test_killed_run_ends_where_an_unbroken_one_does(folder, tmp_path):
    """A resumed run draws what the unbroken one would: same windows, same noise, same weights."""
    small = ["--features", str(folder), "--batch", "2", "--width", "16", "--layers", "1", "--validate-every", "0"]
    train_generator.main([*small, "--run", str(tmp_path / "whole"), "--steps", "4", "--dtype", "float32"])

    class Killed(Exception):
        pass

    def kill(step):
        if step == 2:
            raise Killed

    broken = [*small, "--run", str(tmp_path / "broken"), "--steps", "4", "--dtype", "float32"]
    seed = train_generator.Engine.seed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_generator.Engine, "seed", lambda self, *numbers: kill(numbers[1]) or seed(self, *numbers))
        patch.setattr(train_generator, "Run", functools.partial(train_generator.Run, save_every=0))
        with pytest.raises(Killed):
            train_generator.main(broken)
    assert torch.load(tmp_path / "broken/checkpoint.pt", weights_only=True)["step"] == 2
    train_generator.main(broken)
    whole, again = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "broken"))
    assert all(torch.allclose(tensor, again[name], atol=1e-6) for name, tensor in whole.items())


def test_the_lips_are_trained_beside_a_network_that_stays_as_it_is(folder, tmp_path):
    small = ["--features", str(folder), "--batch", "2", "--width", "32", "--layers", "1", "--sync-at", "0"]
    small += ["--validate-every", "0", "--steps", "2"]
    train_generator.main([*small, "--run", str(tmp_path / "first")])
    train_generator.main([*small, "--run", str(tmp_path / "lips"), "--start", str(tmp_path / "first"), "--only-lips"])
    first, lips = (load_file(tmp_path / name / "weights.safetensors") for name in ("first", "lips"))
    assert all(torch.equal(tensor, lips[name]) for name, tensor in first.items())
    assert {name for name in lips if name not in first} == {n for n in lips if n.startswith("generator.lips.")} != set()
    with pytest.raises(SystemExit):
        train_generator.main([*small, "--run", str(tmp_path / "none"), "--only-lips"])
