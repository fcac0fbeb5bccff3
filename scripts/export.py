"""Training runs -> one file of weights for inference: the parts that it needs, float16, with their configs inside.

`--kind stage1|stage2`: a run of `full-256`, or of `train_denoiser` -> a stage of the original's family, in float32,
under its names.
`--preset NAME -o FILE.json`: a preset's recipes and network sizes, to be changed and trained by `--preset FILE.json`.
`MODEL --onnx DIR`: the networks of a model as ONNX files, for other programs (scripts/onnx_files.py).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from anitalker.config import InputError
from anitalker.models.loading import MODEL_PARTS, load_face, load_model, read
from anitalker.original.checkpoints import read_stage_one, read_stage_two
from anitalker.weights.registry import sha256
from scripts import onnx_files
from scripts.training.loop import weights_of, write_whole
from scripts.training.presets import describe

KINDS = {
    "model": (MODEL_PARTS, ("speech",), load_model),
    "face": (("detector", "landmarks"), (), load_face),
    "stage1": (("stage1",), (), read_stage_one),
    "stage2": (("stage2",), (), read_stage_two),
}
ORIGINAL = ("stage1", "stage2")
SMALL = 4096  # elements: biases, norms and the like stay in float32
EXACT = ("directions", "canonical", "motion_mean", "motion_std", "mean", "std", "spoken")  # measured, not learned


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    if options.register:
        register(Path(__file__).resolve().parent.parent)
    elif options.onnx and options.runs:
        for file in onnx_files.write(load_model(options.runs[0]), Path(options.onnx)):
            print(f"{file}: {file.stat().st_size / 2**20:.2f} MiB")
    elif options.preset and options.output:
        write_preset(Path(options.output), options.preset)
    elif options.runs and options.output:
        export([weights_of(run) for run in options.runs], options.kind, Path(options.output))
    else:
        raise SystemExit("error: give RUN and -o FILE.safetensors, --preset NAME and -o FILE.json, or --register")


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
        for module in modules:
            if trained := {key: tensor for key, tensor in run_tensors.items() if key.startswith(f"{module}.")}:
                tensors[module], config[module] = trained, run_config[module]
        config |= {name: run_config[name] for name in settings if name in run_config}
    if missing := [name for name in (*modules, *settings) if name not in config]:
        raise SystemExit(f"error: no run has {', '.join(missing)}; name the runs that trained them")
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


def write_preset(path: Path, name: str) -> None:
    """A preset as JSON: what `train_motion_space --preset FILE.json` reads, and beside it the sizes that follow."""
    try:
        text = json.dumps(describe(name), indent=1)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    path.write_text(text + "\n", encoding="utf-8")
    print(f"{path}: python -m scripts.train_motion_space --preset {path} --data DIR --out RUN")


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
            raise SystemExit(f"error: {path.name} has no line in {registry.name} or in {card}; add one first")
        print(f"{path.name}: {size}, {digest}")
    registry.write_text(code, encoding="utf-8")
    card.write_text(text, encoding="utf-8")


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
    main()
