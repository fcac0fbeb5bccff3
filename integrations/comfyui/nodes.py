"""The nodes over `anitalker.pipeline.Talker`.

In ComfyUI a picture is float32 [B,H,W,3] in 0..1, sound is {"waveform": float32 [B,C,N], "sample_rate": Hz}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anitalker.config import FPS, SAMPLE_RATE, InputError, RenderOptions

if TYPE_CHECKING:
    from anitalker.pipeline import Talker

DEFAULT_SIZE = 512  # pixels of the shorter side: a minute is 4.7 GB as ComfyUI holds frames
MODEL_TYPE = "ANITALKER_MODEL"
HELP = {field.name: field.metadata["about"] for field in dataclasses.fields(RenderOptions)}


class LoadModel:
    """Load the networks, once for all nodes that use them."""

    CATEGORY = "AniTalker"
    DESCRIPTION = "The networks that let a portrait speak; they come with the package."
    RETURN_TYPES = (MODEL_TYPE,)
    RETURN_NAMES = ("model",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Names of the models, and devices."""
        from anitalker.weights.registry import REGISTRY

        names = [name for name, entry in REGISTRY.items() if entry.model]
        return {"required": {"model": (names,), "device": (["auto", "cpu", "cuda", "mps"],)}}

    def load(self, model: str, device: str) -> tuple[Talker]:
        """Load a model. InputError where the device is not there."""
        from anitalker.pipeline import load

        return (load(model, device),)


class Speak:
    """Let a portrait speak a recording: frames at 25 a second, and the recording."""

    CATEGORY = "AniTalker"
    DESCRIPTION = "A portrait speaks a recording: 25 frames a second, marked by an invisible watermark."
    RETURN_TYPES = ("IMAGE", "AUDIO", "FLOAT")
    RETURN_NAMES = ("frames", "audio", "fps")
    FUNCTION = "speak"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Sockets, and options with the defaults of the command line."""
        strength = {"min": 0.0, "max": 2.0, "step": 0.05}
        return {
            "required": {
                "model": (MODEL_TYPE,),
                "portrait": ("IMAGE",),
                "audio": ("AUDIO",),
                "seed": ("INT", {"default": RenderOptions.seed, "min": 0, "max": 2**63 - 1, "tooltip": HELP["seed"]}),
            },
            "optional": {
                "size": ("INT", {"default": DEFAULT_SIZE, "min": 64, "max": 4096, "tooltip": HELP["size"]}),
                "frame": (["full", "crop"], {"default": RenderOptions.frame, "tooltip": HELP["frame"]}),
                "face": ("STRING", {"default": RenderOptions.face, "tooltip": "largest, all, or an index from 0"}),
                "lips": ("FLOAT", {**strength, "default": RenderOptions.lips, "tooltip": HELP["lips"]}),
                "head": ("FLOAT", {**strength, "default": RenderOptions.head, "tooltip": HELP["head"]}),
                "blink": ("FLOAT", {**strength, "default": RenderOptions.blink, "tooltip": HELP["blink"]}),
                "still": ("BOOLEAN", {"default": RenderOptions.still, "tooltip": HELP["still"]}),
                "label": ("BOOLEAN", {"default": RenderOptions.label, "tooltip": HELP["label"]}),
            },
        }

    def speak(
        self,
        model: Talker,
        portrait: torch.Tensor,
        audio: dict[str, Any],
        seed: int,
        size: int = DEFAULT_SIZE,
        **options: Any,
    ) -> tuple[torch.Tensor, dict[str, Any], float]:
        """Frames float32 [T,H,W,3] in 0..1, T = ceil(25 seconds); the recording as it came; 25.

        InputError for a batch of several pictures or recordings, and for a portrait without a face that can speak.
        """
        from anitalker.provenance.marks import frame_filters

        render_options = RenderOptions(seed=seed, size=size, **options)
        prepared = model.prepare(to_picture(portrait), render_options)
        motions = model.motion(prepared, to_samples(audio), render_options)
        frames, count = model.draw(prepared, motions, render_options), len(motions[0])
        drawn, filters = None, ()
        for number, frame in enumerate(_watched(frames, count)):
            if drawn is None:
                drawn = torch.empty(count, *frame.shape)
                filters = frame_filters(frame.shape[1], frame.shape[0], render_options.label, watermark=True)
            for apply_filter in filters:
                frame = apply_filter(frame)
            drawn[number] = torch.from_numpy(np.ascontiguousarray(frame)) / 255
        assert drawn is not None  # motion is at least a frame long
        return drawn, audio, float(FPS)


def to_picture(image: torch.Tensor) -> np.ndarray:
    """ComfyUI's picture [1,H,W,C] in 0..1 as uint8 [H,W,3]; transparency is laid on white. InputError for several."""
    if image.ndim != 4 or image.shape[0] != 1:
        raise InputError(f"portrait is a batch of {len(image)} pictures; give one, such as by `Image From Batch`")
    picture = image[0].float().clamp(0, 1).cpu()
    if picture.shape[-1] == 4:
        alpha = picture[..., 3:]
        picture = picture[..., :3] * alpha + 1 - alpha
    return picture.expand(-1, -1, 3).mul(255).round().byte().numpy()


def to_samples(audio: dict[str, Any]) -> np.ndarray:
    """ComfyUI's sound as float32 [N] at 16 kHz, channels mixed. InputError for several recordings, or none."""
    import soxr

    waveform = audio["waveform"]
    if waveform.ndim != 3 or waveform.shape[0] != 1:
        raise InputError(f"audio is a batch of {len(waveform)} recordings; give one")
    if waveform.shape[-1] == 0:
        raise InputError("audio is empty; give a recording with speech")
    samples = waveform[0].float().mean(0).cpu().numpy()
    return soxr.resample(samples, audio["sample_rate"], SAMPLE_RATE).astype(np.float32)


def _watched(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Frames as they come; ComfyUI shows the progress and may interrupt."""
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted  # pyright: ignore
        from comfy.utils import ProgressBar  # pyright: ignore
    except ImportError:  # outside ComfyUI
        yield from frames
        return
    bar = ProgressBar(count)
    for frame in frames:
        throw_exception_if_processing_interrupted()
        bar.update(1)
        yield frame
