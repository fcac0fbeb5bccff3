"""Networks of a model -> ONNX files for other programs, and what the decoder's U-Net costs in each runtime.

    python -m scripts.export lite --onnx DIR         # encoder, speech, generator and unet, each a file
    python -m scripts.onnx_files DIR                 # ms of processor time a frame: torch, ONNX Runtime, OpenVINO

Letters: B pictures or frames, L = p + n frames of which p are known, n = 128 places of the U-Net. Names of inputs and
outputs are those of the methods that `PARTS` names; B, L, p and n of the motion are free.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.models.lite import Networks
from anitalker.models.loading import load_model
from anitalker.motion.generator import CONTROLS

OPSET = 17
ROUNDS, RUNS = 6, 10  # the least of ROUNDS means over RUNS


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

    names = ("appearance", "motion", "identity")
    return Part(
        space, look, {"image": torch.rand(2, 3, 256, 256) * 2 - 1}, names, {key: {0: "B"} for key in ("image", *names)}
    )


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
    free = {name: {0: "B"} for name in (*inputs, "clean")}
    for name, length in (
        ("noisy", "n"),
        ("heard", "L"),
        ("previous", "p"),
        ("controls", "L"),
        ("given", "L"),
        ("clean", "n"),
    ):
        free[name][1] = length
    return Part(network, network.forward, inputs, ("clean",), free)


def unet(networks: Networks) -> Part:
    """The decoder's U-Net: what changes, what the portrait brings and codes -> pixels, logits, residual flow."""
    network = networks.decoder
    with torch.no_grad():
        entry = network._entry(None, torch.rand(1, network.colours + 4, network.side, network.side))
    inputs = {
        "x": torch.randn(1, network.entry.in_channels - network.colours - 4, network.side, network.side),
        "entry": entry,
        "codes": 0.3 * torch.randn(1, network.modulate.in_features),
    }
    return Part(network, network._unet, inputs, ("out",), {key: {0: "B"} for key in ("x", "codes", "out")})


PARTS = {one.__name__: one for one in (encoder, speech, generator, unet)}


def write(networks: Networks, folder: Path) -> list[Path]:
    """Every part into its file in `folder`, float32."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
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
        made.append(file)
    return made


def _layer_norm(x: Tensor, width, *rest, norm=F.layer_norm) -> Tensor:
    """torch's, with the width as a plain number: the exporter takes x.shape[-1:] for a size that may vary."""
    return norm(x, [int(size) for size in width], *rest)


def runtimes(part: Part, file: Path) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Names of what can run the part here on one thread, and a call that does."""
    inputs = [
        one.contiguous(memory_format=torch.channels_last) if one.ndim == 4 else one for one in part.inputs.values()
    ]

    def in_torch(low: bool) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            return part(*inputs).float().numpy()

    yield "torch float32", lambda: in_torch(False)
    yield "torch bfloat16", lambda: in_torch(True)
    feed = {name: one.numpy() for name, one in part.inputs.items()}
    try:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        yield "ONNX Runtime float32", lambda: session.run(None, feed)[0]
    except ImportError:
        print("ONNX Runtime is not here: pip install -e '.[onnx]'")
    try:
        import openvino

        core = openvino.Core()
        for form in ("f32", "bf16"):
            settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": form}
            request = core.compile_model(str(file), "CPU", settings).create_infer_request()
            yield f"OpenVINO {form}", lambda request=request: request.infer(feed)[0]
    except ImportError:
        print("OpenVINO is not here: pip install -e '.[openvino]'")


def milliseconds(work: Callable) -> float:
    """Processor time of one call, the least of ROUNDS."""
    work()
    least = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(RUNS):
            work()
        least = min(least, (time.process_time() - start) / RUNS * 1e3)
    return least


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where python -m scripts.export MODEL --onnx DIR wrote")
    parser.add_argument("--model", default="lite", help="the model that was exported (default: %(default)s)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    part, exact = unet(load_model(arguments.model)), None
    print("| U-Net in | ms of processor time a frame | rms error of the output |\n| --- | --- | --- |")
    for name, work in runtimes(part, arguments.folder / "unet.onnx"):
        made = work()
        exact = made if exact is None else exact
        print(f"| {name} | {milliseconds(work):.1f} | {np.sqrt(np.mean((made - exact) ** 2)):.1e} |")


if __name__ == "__main__":
    main()
