"""Training runs -> one file of weights for inference: the parts that it needs, float16, with their configs inside.

`--kind stage1|stage2`: a run of `full-256`, or of `train_denoiser` -> a stage of the original's family, in float32,
under its names.
`--preset NAME -o FILE.json`: a preset's recipes and network sizes, to be changed and trained by `--preset FILE.json`.
`MODEL --onnx DIR`: the networks of a model as ONNX files, for other programs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import InputError
from anitalker.files import write_whole
from anitalker.models.lite import Networks
from anitalker.models.loading import MODEL_PARTS, OPTIONAL_PARTS, load_face, load_matte, load_model, read
from anitalker.motion.generator import CONTROLS
from anitalker.original.checkpoints import read_stage_one, read_stage_two
from anitalker.weights.registry import sha256
from scripts.training.loop import weights_of
from scripts.training.presets import describe
from scripts.training.recipe import command

KINDS = {
    "model": (MODEL_PARTS, ("speech",), load_model),
    "face": (("detector", "landmarks"), (), load_face),
    "matte": (("matte",), (), load_matte),
    "stage1": (("stage1",), (), read_stage_one),
    "stage2": (("stage2",), (), read_stage_two),
}
ORIGINAL = ("stage1", "stage2")
SMALL = 4096  # elements: biases, norms and the like stay in float32
EXACT = ("directions", "canonical", "motion_mean", "motion_std", "mean", "std", "spoken")  # measured, not learned
OPSET = 17


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    if options.register:
        register(Path(__file__).resolve().parent.parent)
    elif options.onnx and options.runs:
        for file in write_onnx(load_model(options.runs[0]), Path(options.onnx)):
            print(f"{file}: {file.stat().st_size / 2**20:.2f} MiB")
    elif options.preset and options.output:
        Path(options.output).write_text(json.dumps(describe(options.preset), indent=1) + "\n", encoding="utf-8")
        print(f"python -m scripts.train_motion_space --preset {options.output} --data DIR --out RUN trains it")
    elif options.runs and options.output:
        export([weights_of(run) for run in options.runs], options.kind, Path(options.output))
    else:
        raise InputError("give RUN and -o FILE.safetensors, --preset NAME and -o FILE.json, or --register")


def export(files: list[Path], kind: str, output: Path) -> None:
    """Weights of runs as one file, which must load."""
    config, tensors = collect(files, kind)
    write(output, config, tensors)
    KINDS[kind][2](output)  # what does not load here would not load anywhere
    print(f"{output}: {len(tensors)} tensors, {output.stat().st_size / 2**20:.2f} MiB, SHA-256 {sha256(output)}")
    print("if it is to be shipped: put it into checkpoints/, then python -m scripts.export --register")


def collect(files: list[Path], kind: str) -> tuple[dict, dict[str, Tensor]]:
    """Config and tensors of the modules that `kind` needs; where two runs have the same one, the later run counts."""
    modules, settings, _ = KINDS[kind]
    config, tensors = {}, {}
    for file in files:
        run_config, run_tensors = read(file)
        for module in (*modules, *(OPTIONAL_PARTS if kind == "model" else ())):
            if trained := {key: tensor for key, tensor in run_tensors.items() if key.startswith(f"{module}.")}:
                tensors[module], config[module] = trained, run_config[module]
        config |= {name: run_config[name] for name in settings if name in run_config}
    if missing := [name for name in (*modules, *settings) if name not in config]:
        raise InputError(f"no run has {', '.join(missing)}; name the runs that trained them")
    if kind in ORIGINAL:  # as anitalker.original.checkpoints reads it
        stage = {key.removeprefix(f"{kind}."): tensor.contiguous() for key, tensor in tensors[kind].items()}
        return {"kind": f"original_{kind}", kind: config[kind]}, stage
    return config, {key: slim(key, tensor) for trained in tensors.values() for key, tensor in trained.items()}


def slim(key: str, tensor: Tensor) -> Tensor:
    """Large learned tensors in float16; what is small or measured stays as it is."""
    if not tensor.is_floating_point() or tensor.numel() <= SMALL or key.rsplit(".", 1)[-1] in EXACT:
        return tensor.contiguous()
    return tensor.to(torch.float16).contiguous()


def write(path: Path, config: dict, tensors: dict[str, Tensor]) -> None:
    """Write a file of weights whole or not at all."""
    write_whole(path, lambda partial: save_file(tensors, partial, {"config": json.dumps(config)}))


def register(root: Path) -> None:
    """Put size and SHA-256 of every shipped file into the registry and into the model card's table."""
    registry, card = root / "anitalker/weights/registry.py", root / "checkpoints/README.md"
    code, text = registry.read_text(encoding="utf-8"), card.read_text(encoding="utf-8")
    for path in sorted((root / "checkpoints").glob("*.safetensors")):
        name, digest = re.escape(path.name), sha256(path)
        size = f"{path.stat().st_size / 2**20:.2f} MiB"
        code, known = re.subn(rf'("{name}",\s*)"[0-9a-f]*"', rf'\g<1>"{digest}"', code)
        text, listed = re.subn(rf"(\| `{name}` \|[^|]*\|)[^|]*\|[^|]*\|", rf"\g<1> {size} | `{digest}` |", text)
        if not known or not listed:
            raise InputError(f"{path.name} has no line in {registry.name} or in {card}; add one first")
        print(f"{path.name}: {size}, {digest}")
    registry.write_text(code, encoding="utf-8")
    card.write_text(text, encoding="utf-8")


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


def write_onnx(networks: Networks, folder: Path) -> list[Path]:
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


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folders or weight files")
    parser.add_argument("--kind", choices=tuple(KINDS), default="model")
    parser.add_argument("--preset", help="only: this preset of training, as JSON")
    parser.add_argument("-o", "--output", metavar="FILE.safetensors")
    parser.add_argument(
        "--onnx", metavar="DIR", help="only: the networks of a model (name or file) as ONNX files in DIR"
    )
    parser.add_argument("--register", action="store_true", help="only: hashes of checkpoints/ into registry and card")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
