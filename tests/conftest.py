"""Shared fixtures: small inputs made on the spot, an untrained model, and a face that is always found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

# Before torch is loaded: for tiny networks threads cost more than they bring, and on a busy machine they stall.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """Mono samples in -1..1 as a 16 bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def run_async(coroutine):
    """Run a coroutine on a thread of its own, and return its result: Playwright's loop keeps the main thread busy."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@contextlib.contextmanager
def served(app, **settings):
    """Serve an ASGI application on a free port, with uvicorn's settings; yields its address."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1, **settings))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def playwright():
    """One for all tests with a browser: a second one does not start beside it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def example_portrait(tmp_path_factory) -> Path:
    """The example portrait at 256x256, which is quicker to draw than at its own 512x512."""
    from PIL import Image

    path = tmp_path_factory.mktemp("example") / "portrait.webp"
    picture = Image.open(ROOT / "app/examples/portrait.webp").convert("RGB")
    picture.resize((256, 256), Image.Resampling.LANCZOS).save(path, lossless=True)
    return path


@pytest.fixture(scope="session")
def make_wav():
    return write_wav


@pytest.fixture(scope="session")
def clicks(tmp_path_factory) -> Path:
    """1.03 s: silence with short bursts at 0.2, 0.5 and 0.8 s; not a whole number of frames."""
    samples = np.zeros(int(1.03 * 16_000))
    for start in (0.2, 0.5, 0.8):
        at = int(start * 16_000)
        samples[at : at + 160] = 0.8 * np.sin(np.arange(160) * 0.9)
    return write_wav(tmp_path_factory.mktemp("speech") / "clicks.wav", samples)


@pytest.fixture(autouse=True, scope="session")
def own_config(tmp_path_factory):
    """Videos are signed with an identity made for the tests, not with the user's."""
    os.environ["ANITALKER_CONFIG"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture(autouse=True)
def seeded():
    np.random.seed(0)


@pytest.fixture
def card() -> str:
    """The device of tests marked cuda. ANITALKER_TEST_CARD=cpu tries these tests themselves where there is no card."""
    import torch

    name = os.environ.get("ANITALKER_TEST_CARD", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return name


@pytest.fixture
def face():
    """The canonical face [468,3] in face heights: a mean over many people, nobody's own."""
    import torch

    return torch.from_numpy(np.load(ROOT / "tests/canonical_face.npy"))


def mean_face() -> np.ndarray:
    """468 points that look roughly like a face: [468,3], origin between the eyes, height 1."""
    from anitalker.faces import landmarks as groups

    rng = np.random.default_rng(1)
    points = np.stack([rng.uniform(-0.3, 0.3, 468), rng.uniform(-0.25, 0.55, 468), rng.uniform(-0.1, 0.1, 468)], -1)

    def ring(indices, x, y, width, height):
        angle = np.linspace(0, 2 * np.pi, len(indices), endpoint=False)
        points[list(indices), 0] = x + width * np.cos(angle)
        points[list(indices), 1] = y + height * np.sin(angle)

    ring(groups.FACE_OVAL, 0, 0.18, 0.38, 0.5)
    ring(groups.OUTER_LIPS, 0, 0.4, 0.14, 0.06)
    ring(groups.INNER_LIPS, 0, 0.4, 0.1, 0.01)
    ring(groups.RIGHT_EYE, -0.17, 0, 0.08, 0.03)
    ring(groups.LEFT_EYE, 0.17, 0, 0.08, 0.03)
    points[groups.FOREHEAD], points[groups.CHIN] = (0, -0.32, 0), (0, 0.68, 0)
    for upper, lower in (*groups.LIP_PAIRS, *groups.RIGHT_LID_PAIRS, *groups.LEFT_LID_PAIRS):
        middle = (points[upper] + points[lower]) / 2
        half = np.array([0, 0.012, 0])
        points[upper], points[lower] = middle - half, middle + half
    return points.astype(np.float32)


class FixedFinder:
    """Finds `count` faces side by side in every picture that is not one colour."""

    calibrated = False

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def find(self, picture: np.ndarray) -> list:
        from anitalker.faces.detection import Face, box_of

        if picture.std() < 1:
            return []
        height, width = picture.shape[:2]
        size = 0.5 * min(height, width / self.count)
        faces = []
        for number in range(self.count):
            points = mean_face() * size + [width * (number + 0.5) / self.count, height * 0.4, 0]
            faces.append(Face(box_of(points), 0.9, points.astype(np.float32)))
        return faces

    def confirm(self, picture: np.ndarray, box: tuple) -> tuple:
        from anitalker.faces.detection import iou

        return max(
            ((face.score, face.box) for face in self.find(picture) if iou(face.box, box) > 0.3), default=(0, box)
        )

    def refine(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return landmarks


@pytest.fixture(scope="session")
def fixed_finder():
    return FixedFinder


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory) -> Path:
    """A small model with random weights, exported as the real one is."""
    import torch

    from anitalker.models.loading import MODEL_PARTS, build
    from anitalker.network_config import (
        DecoderConfig,
        EncoderConfig,
        GeneratorConfig,
        MotionSpaceConfig,
        SpeechConfig,
        to_dict,
    )
    from scripts.export import write

    encoder = EncoderConfig(channels=(8, 8, 8, 8, 8, 16), code_size=16)
    config = {
        "motion_space": to_dict(MotionSpaceConfig(encoder=encoder, hidden=16)),
        "decoder": to_dict(DecoderConfig(channels=(8, 8, 16, 16), code_size=16, grid=24)),
        "generator": to_dict(
            GeneratorConfig(width=32, layers=1, heads=2, speech_layers=1, window=20, previous=5, lookahead=4)
        ),
        "speech": to_dict(SpeechConfig()),
    }
    torch.manual_seed(0)
    modules = build(config, MODEL_PARTS, "untrained")
    for module in modules.values():
        for parameter in module.parameters():
            if not parameter.any():  # outputs that start at zero would make every motion the same
                torch.nn.init.normal_(parameter, std=0.05)
    space = modules["motion_space"]
    space.canonical.copy_(torch.tensor(mean_face()))
    space.directions.copy_(torch.linalg.qr(torch.randn(space.directions.shape))[0])
    space.motion_mean[5], space.motion_std[:] = float(np.log(0.55)), 0.02
    path = tmp_path_factory.mktemp("model") / "untrained.safetensors"
    write(path, config, {f"{part}.{key}": t for part, m in modules.items() for key, t in m.state_dict().items()})
    return path


@pytest.fixture(scope="session")
def original_networks():
    """Narrow stage one (32 pixels) and stage two of the original's kind, random weights; variant -> both."""
    import torch

    from anitalker.network_config import DenoiserConfig, StageOneConfig
    from anitalker.original.denoiser import Denoiser
    from anitalker.original.stage_one import StageOne

    def build(variant: str = "mfcc_full_control") -> tuple:
        torch.manual_seed(0)
        first = StageOne(StageOneConfig(size=32, style=24, channels=(24, 16, 12, 8)))
        narrow = {"width": 16, "decoder_hidden": 16, "decoder_layers": 1, "side": 8, "control": 8, "mfcc_hidden": 8}
        return first, Denoiser(DenoiserConfig(variant, start=24, **narrow))

    return build


@pytest.fixture(scope="session")
def original_files(original_networks, tmp_path_factory) -> tuple[Path, Path]:
    """These networks (mfcc_full_control) as files in the spelling of the published ones."""
    import torch

    folder = tmp_path_factory.mktemp("original")
    first, second = original_networks()
    torch.save(first.state_dict(), folder / "stage1.ckpt")
    torch.save({f"ema_model.{key}": tensor for key, tensor in second.state_dict().items()}, folder / "stage2.ckpt")
    return folder / "stage1.ckpt", folder / "stage2.ckpt"


@pytest.fixture
def talker(untrained_model, monkeypatch):
    """The untrained model with a finder that always finds one face."""
    from anitalker import pipeline

    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: FixedFinder())
    return pipeline.load(untrained_model, "cpu")
