"""Fakes of the evaluation: clips that say which frame is which, a model that knows them, one that copies. For the
trainings: two made-up people with decoded frames and labels.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anitalker.faces.landmarks import from_canonical, lip_opening
from anitalker.network_config import PhoneticConfig, SpeechConfig, to_dict
from encoders.phonetic import PhoneticEncoder
from scripts.evaluate import parse
from scripts.evaluation.clips import EvalClip
from scripts.evaluation.session import MetricNetworks, Session
from scripts.training.labels import MotionLabels

FRAMES = 40


def face(opening=0.05, shift=0.0):
    """468 points on an ellipse around the middle of the crop; the lips `opening` face heights apart."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.05, (468, 3)).astype(np.float32) + np.float32([0.5 + shift, 0.5, 0])
    points[10, :2], points[152, :2] = (0.5 + shift, 0.2), (0.5 + shift, 0.8)
    points[13, :2], points[14, :2] = (0.5 + shift, 0.6), (0.5 + shift, 0.6 + opening * 0.6)
    return points


def clip(seed=0, identity="a"):
    """Frames whose first pixel is their number and the clip's, so that a fake can know what it is shown."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (FRAMES, 256, 256, 3), dtype=np.uint8)
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = np.arange(FRAMES), seed
    openings = 0.05 + 0.04 * rng.random(FRAMES)
    labels = np.stack([face(o, 0.02 * np.sin(i)) for i, o in enumerate(openings)])
    speech = rng.normal(0, 0.1, FRAMES * 640).astype(np.float32)
    row = {"id": str(seed), "identity": identity, "speaking_visible": "yes", "generated": "no", "has_audio": "yes"}
    return EvalClip(row, frames, labels, speech)


class Oracle:
    """Knows its clips: a code is the number of the frame that it was read from, a rendered frame is the true one."""

    name = "oracle"
    lost = 0
    dubber = None

    def __init__(self, *clips):
        self.clips = {int(clip.frames[0, 0, 0, 1]): clip for clip in clips}

    def known(self, frame):
        return self.clips[int(frame[0, 0, 1])]

    def landmarks(self, frames):
        return np.stack([self.known(frame).landmarks[frame[0, 0, 0]] for frame in frames])

    def codes(self, frames):
        codes = np.zeros((len(frames), 20), np.float32)
        codes[:, 0] = frames[:, 0, 0, 0]
        codes[:, 6] = lip_opening(self.landmarks(frames))
        return codes

    def looks(self, frames, weights=None):
        codes = self.codes(frames)
        if weights is not None:
            codes = codes * np.float32(weights[0] > 0)  # all that it knows stands in its first stage
        return {"motion": codes, "identity": np.ones((len(frames), 4)), "appearance": np.ones((len(frames), 8))}

    def hal_weights(self):
        return np.float32([0.25, 0.75])

    def render(self, source, motion, appearance=None):
        return self.known(source.image).frames[motion[:, 0].round().astype(int)]

    def render_landmarks(self, source, landmarks, motion):
        return np.repeat(source.image[None], len(landmarks), 0)

    def posed(self, landmarks, start, motion):
        return np.stack([face(m[6]) for m in motion])

    def poses(self, landmarks):
        poses = np.zeros((len(landmarks), 6), np.float32)
        poses[:, 0] = np.arange(len(landmarks))
        return poses

    def speak(self, source, speech, seed):
        count = -(-len(speech) // 640)
        motion = self.codes(self.known(source.image).frames)[np.arange(count) % FRAMES]
        return motion if np.any(speech) else np.repeat(motion[:1], count, 0)

    def stream(self, source, speech, seed):
        return self.speak(source, speech, seed)

    def seams(self, frames):
        return list(range(10, frames, 10))


class Copier(Oracle):
    name = "copier"

    def render(self, source, motion, appearance=None):
        return np.repeat(source.image[None], len(motion), 0)


class Listener(Oracle):
    """Opens its lips with the loudness of each frame of speech; shows that in the first pixel of small frames."""

    name = "listener"

    def landmarks(self, frames):
        if frames.shape[1] == 256:
            return super().landmarks(frames)
        return np.stack([face(frame[0, 0, 0] / 1000) for frame in frames])

    def render(self, source, motion, appearance=None):
        frames = np.zeros((len(motion), 8, 8, 3), np.uint8)
        frames[:, 0, 0, 0] = (1000 * motion[:, 6]).round()
        return frames

    def speak(self, source, speech, seed):
        motion = np.zeros((-(-len(speech) // 640), 20), np.float32)
        padded = np.pad(speech, (0, len(motion) * 640 - len(speech)))
        motion[:, 6] = np.square(padded.reshape(-1, 640)).mean(1) ** 0.5
        return motion


class FakeSession(Session):
    """A session over clips that are there already, without metric networks unless they are given."""

    def __init__(self, model, clips, *options, networks=None):
        super().__init__(model, parse(["--data", "none", *options]))
        self.known, self.networks = clips, networks or MetricNetworks()

    def clips(self, speech=False):
        return iter(self.known)


@pytest.fixture(scope="session")
def fakes():
    """Namespace: FRAMES, face(opening, shift), clip(seed, identity), Oracle(*clips), Copier(*clips), Listener(*clips),
    session(model, clips, *options)."""
    kinds = {kind.__name__: kind for kind in (Oracle, Copier, Listener)}
    return SimpleNamespace(FRAMES=FRAMES, face=face, clip=clip, session=FakeSession, **kinds)


@pytest.fixture
def labels(face):
    """Two people on random directions."""
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(468 * 3, 14)).Q
    return MotionLabels(face, directions, {"ann": face, "bob": face * torch.tensor([1.05, 0.97, 1.0])})


@pytest.fixture
def cache(tmp_path, labels):
    """Folder of decoded frames: both people with a clip of four frames each, two stills; noise, true geometry."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        folder = tmp_path / "cache" / split
        folder.mkdir(parents=True)
        codes = torch.randn(10, 20) * 0.03 - torch.tensor([0] * 5 + [0.6] + [0] * 14)
        shapes = torch.stack([labels.neutrals["ann" if i < 4 else "bob"] for i in range(10)])
        shapes = shapes + (codes[:, 6:] @ labels.directions.T).unflatten(1, (468, 3))
        np.save(folder / "frames.npy", rng.integers(0, 256, (10, 256, 256, 3), np.uint8))
        clip = np.array([0] * 4 + [1] * 4 + [-1] * 2)
        index = {"clip": clip, "frame": np.arange(10) * 10, "identity": np.array([0] * 4 + [1] * 4 + [2, 3])}
        marks = from_canonical(shapes, codes[:, :6]).numpy()
        np.savez(folder / "index.npz", landmarks=marks, good=np.ones(10, bool), **index)
        rows = [{"id": f"c{i}", "identity": name, "shard": "mixed-0"} for i, name in enumerate(("ann", "bob"))]
        (folder / "rows.json").write_text(json.dumps(rows))
    labels.save(tmp_path / "cache" / "labels.npz")
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def motion_folder(tmp_path_factory):
    """Three clips whose first expression number is the loudness of their sound, and opens the lips."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("features")
    directions, _ = np.linalg.qr(rng.standard_normal((1404, 14)))
    row = {"speaking_visible": "yes", "has_audio": "yes", "generated": "no", "shard": "mixed-0", "identity": "a"}
    rows = [
        {**row, "id": "one", "split": "train"},
        {**row, "id": "mute", "split": "train", "speaking_visible": "no", "identity": "b"},
        {**row, "id": "held", "split": "val", "identity": "c"},
    ]
    neutral = rng.standard_normal((468, 3)) * 0.2
    neutral[10], neutral[152], neutral[14] = [0, -0.5, 0], [0, 0.5, 0], neutral[13]
    for row in rows:
        loud = 0.5 + 0.5 * np.sin(np.arange(160) * 0.9)
        codes = 0.05 * rng.standard_normal((160, 20)).cumsum(0) / 10
        codes[:, 6] = loud
        sound = (rng.standard_normal(160 * 640) * 3000 * loud.repeat(640)).astype(np.int16)
        stored = {
            "codes": codes.astype(np.float32),
            "good": np.ones(160, np.uint8),
            "lips": loud.astype(np.float32),
            "eyes": rng.random(160, np.float32),
            "neutral": neutral.astype(np.float32),
            "sound": sound,
            "signals": rng.random((160, 5), np.float32),
        }
        save_file({k: torch.from_numpy(v) for k, v in stored.items()}, folder / f"{row['id']}.safetensors")
    space = torch.tensor(directions.T.reshape(14, 468, 3).copy(), dtype=torch.float32)
    save_file({"directions": space}, folder / "space.safetensors")
    (folder / "clips.json").write_text(json.dumps(rows))
    return folder


@dataclass(frozen=True)
class PhoneticRun:
    """A run folder of an untrained phonetic encoder, and the numbers that it gives per video frame."""

    folder: Path
    size: int


@pytest.fixture(scope="session")
def phonetic_run(tmp_path_factory):
    """A run of a narrow encoder that has learned nothing."""
    torch.manual_seed(0)
    config = PhoneticConfig(width=16, dilations=(1, 2), activations=8)
    network, folder = PhoneticEncoder(**to_dict(config)), tmp_path_factory.mktemp("phonetic")
    tensors = {f"phonetic.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    meta = {"config": json.dumps({"phonetic": to_dict(config), "speech": to_dict(SpeechConfig())})}
    save_file(tensors, folder / "weights.safetensors", meta)
    return PhoneticRun(folder, network.size)


@pytest.fixture(scope="session")
def read_folder(motion_folder, tmp_path_factory):
    """The same clips with codes as a stage one of 24 numbers of appearance reads them; motion beyond 1 now and then."""
    folder = tmp_path_factory.mktemp("read") / "features"
    shutil.copytree(motion_folder, folder)
    motion = torch.from_numpy(np.random.default_rng(1).normal(size=(160, 20)).astype(np.float32))
    for name in ("one", "mute", "held"):
        file = folder / f"{name}.safetensors"
        save_file(load_file(file) | {"motion": motion, "appearance": torch.ones(7, 24).half()}, file)
    return folder


@pytest.fixture
def people(face):
    """Four grey frames with a light square on a corner of the mouth (point 291), and landmarks in crop widths."""
    torch.manual_seed(0)
    place = torch.tensor([0.5, 0.42, 0.0]) + torch.randn(4, 1, 3) * torch.tensor([0.03, 0.03, 0.0])
    landmarks = face * 0.5 + place + torch.randn(4, 468, 3) * 1e-3
    frames = torch.full((4, 256, 256, 3), 90, dtype=torch.uint8)
    for frame, points in zip(frames, landmarks, strict=True):
        x, y = (points[291, :2] * 256).int().tolist()
        frame[y - 3 : y + 4, x - 3 : x + 4] = 255
    return frames, landmarks


@pytest.fixture
def perceptual_network(tmp_path):
    """Path of a perceptual network with random weights."""
    from torchvision.models import squeezenet1_0

    state = squeezenet1_0(weights=None).state_dict()
    np.savez(tmp_path / "features.npz", **{key: value.numpy() for key, value in state.items()})
    return str(tmp_path / "features.npz")
