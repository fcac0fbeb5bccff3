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
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from anitalker.config import InputError
from anitalker.models.loading import MODEL_PARTS, load_face, load_model, read
from anitalker.original.checkpoints import read_stage_one, read_stage_two
from anitalker.weights.registry import sha256
from scripts import onnx_files
from scripts.training.loop import weights_of
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


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    if arguments.register:
        register(Path(__file__).resolve().parent.parent)
        return
    if arguments.onnx and arguments.runs:
        for file in onnx_files.write(load_model(arguments.runs[0]), Path(arguments.onnx)):
            print(f"{file}: {file.stat().st_size / 2**20:.2f} MiB")
        return
    if arguments.preset and arguments.output:
        write_preset(Path(arguments.output), arguments.preset)
        return
    if not arguments.runs or not arguments.output:
        raise SystemExit("error: give RUN and -o FILE.safetensors, --preset NAME and -o FILE.json, or --register")
    config, tensors = collect([weights_of(run) for run in arguments.runs], arguments.kind)
    if arguments.kind in ORIGINAL:
        config, tensors = as_original(arguments.kind, config, tensors)
    output = Path(arguments.output)
    write(output, config, tensors)
    KINDS[arguments.kind][2](output)  # what does not load here would not load anywhere
    print(f"{output}: {len(tensors)} tensors, {output.stat().st_size / 2**20:.2f} MiB, SHA-256 {sha256(output)}")
    print("if it is to be shipped: put it into checkpoints/, then python -m scripts.export --register")


def collect(files: list[Path], kind: str) -> tuple[dict, dict[str, Tensor]]:
    """Config and tensors of the parts that `kind` needs; where two runs have the same part, the later one counts."""
    parts, settings, _ = KINDS[kind]
    config, found = {}, {}
    for file in files:
        run_config, run_tensors = read(file)
        for part in parts:
            own = {key: tensor for key, tensor in run_tensors.items() if key.startswith(f"{part}.")}
            if own:
                found[part] = own
                config[part] = run_config[part]
        config |= {name: run_config[name] for name in settings if name in run_config}
    if missing := [name for name in (*parts, *settings) if name not in config]:
        raise SystemExit(f"error: no run has {', '.join(missing)}; name the runs that trained them")
    pairs = [(key, tensor) for own in found.values() for key, tensor in own.items()]
    return config, {key: tensor.contiguous() if kind in ORIGINAL else slim(key, tensor) for key, tensor in pairs}


def as_original(stage: str, config: dict, tensors: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """A stage as `anitalker.original.checkpoints` reads it."""
    kept = {key.removeprefix(f"{stage}."): tensor for key, tensor in tensors.items()}
    return {"kind": f"original_{stage}", stage: config[stage]}, kept


def slim(key: str, tensor: Tensor) -> Tensor:
    """Large learned tensors in float16; what is small or measured stays as it is."""
    if not tensor.is_floating_point() or tensor.numel() <= SMALL or key.rsplit(".", 1)[-1] in EXACT:
        return tensor.contiguous()
    return tensor.to(torch.float16).contiguous()


def write(path: Path, config: dict, tensors: dict[str, Tensor]) -> None:
    """Write the file whole or not at all."""
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, {"config": json.dumps(config)})
    partial.replace(path)


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
        text, told = re.subn(rf"(\| `{name}` \|[^|]*\|)[^|]*\|[^|]*\|", rf"\g<1> {size} | `{digest}` |", text)
        if not known or not told:
            raise SystemExit(f"error: {path.name} has no line in {registry.name} or in {card}; add one first")
        print(f"{path.name}: {size}, {digest}")
    registry.write_text(code, encoding="utf-8")
    card.write_text(text, encoding="utf-8")


def parse(argv: list[str] | None) -> argparse.Namespace:
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
