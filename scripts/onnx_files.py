"""Networks of a model -> ONNX files for other programs: what `python -m scripts.export MODEL --onnx DIR` writes.

Letters: B pictures or frames, L = p + n frames of which p are known, n = 128 places of the U-Net. Names of inputs and
outputs are those of the methods that `PARTS` names; B, L, p and n of the motion are free.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.models.lite import Networks
from anitalker.motion.generator import CONTROLS

OPSET = 17


class Part(nn.Module):
    """A method of a network as a module that can be traced, with inputs of its shapes; `free`: sizes left open."""

    def __init__(
        self, network: nn.Module, method: Callable, inputs: dict[str, Tensor], outputs: tuple[str, ...], free: dict
    ) -> None:
        super().__init__()
        self.network, self.method = network, method
        self.inputs, self.outputs, self.free = inputs, outputs, free

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.method(*inputs)


def encoder(networks: Networks) -> Part:
    """`MotionSpace.look`: pictures [B,3,256,256] in [-1,1] -> appearance, motion and identity codes."""
    space = networks.motion_space

    def look(image: Tensor) -> tuple[Tensor, ...]:
        codes = space.look(image)
        return codes.appearance, codes.motion, codes.identity

    inputs, outputs = {"image": torch.rand(2, 3, 256, 256) * 2 - 1}, ("appearance", "motion", "identity")
    return Part(space, look, inputs, outputs, {name: {0: "B"} for name in ("image", *outputs)})


def speech(networks: Networks) -> Part:
    """`MotionGenerator.encode_speech`: speech features [B,L,S] -> heard [B,L,W]."""
    network = networks.generator
    free = {key: {0: "B", 1: "L"} for key in ("speech", "heard")}
    return Part(
        network, network.encode_speech, {"speech": torch.randn(2, 14, network.config.speech_size)}, ("heard",), free
    )


def generator(networks: Networks) -> Part:
    """`MotionGenerator.forward`, one step of the sampler: noisy motion and conditions -> clean motion [B,n,M]."""
    network = networks.generator
    size, width, controls = network.config.motion_size, network.config.width, len(CONTROLS)
    inputs = {
        "noisy": torch.randn(2, 9, size),
        "time": torch.rand(2),
        "heard": torch.randn(2, 14, width),
        "start": torch.randn(2, size),
        "previous": torch.randn(2, 5, size),
        "controls": torch.randn(2, 14, controls),
        "given": torch.ones(2, 14, controls),
    }
    lengths = {"noisy": "n", "heard": "L", "previous": "p", "controls": "L", "given": "L", "clean": "n"}
    free = {name: {0: "B"} for name in (*inputs, "clean")}
    for name, length in lengths.items():
        free[name][1] = length
    return Part(network, network.forward, inputs, ("clean",), free)


def unet(networks: Networks) -> Part:
    """The decoder's U-Net: what changes, what the portrait brings and codes -> pixels, logits, residual flow."""
    network = networks.decoder
    with torch.no_grad():
        entry = network._project(None, torch.rand(1, network.block_channels + 4, network.side, network.side))
    inputs = {
        "x": torch.randn(1, network.entry.in_channels - network.block_channels - 4, network.side, network.side),
        "entry": entry,
        "codes": 0.3 * torch.randn(1, network.modulate.in_features),
    }
    return Part(network, network._unet, inputs, ("out",), {key: {0: "B"} for key in ("x", "codes", "out")})


PARTS = {"encoder": encoder, "speech": speech, "generator": generator, "unet": unet}


def write(networks: Networks, folder: Path) -> list[Path]:
    """Every part into its file in `folder`, float32."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, build in PARTS.items():
        part, file = build(networks), folder / f"{name}.onnx"
        with torch.no_grad(), warnings.catch_warnings(), mock.patch.object(F, "layer_norm", _layer_norm):
            warnings.simplefilter("ignore")  # the exporter by tracing is told to be the older one, and what it fixes
            torch.onnx.export(
                part.eval(),
                tuple(part.inputs.values()),
                str(file),
                input_names=list(part.inputs),
                output_names=list(part.outputs),
                dynamic_axes=part.free,
                opset_version=OPSET,
                dynamo=False,
            )
        files.append(file)
    return files


def _layer_norm(x: Tensor, width, *rest, norm=F.layer_norm) -> Tensor:
    """torch's, with the width as a plain number: the exporter takes x.shape[-1:] for a size that may vary."""
    return norm(x, [int(size) for size in width], *rest)
