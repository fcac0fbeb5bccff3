"""Our networks of the original against its recorded numbers: a table of errors, and the small recording in tests/.

FOLDER is a recording of the public original with synthetic weights: stage1.npz, stage2_<variant>.npz, sched.npz,
mfcc.npz, speech_3s.wav and manifests of the weight files. Every spelling of the files goes through the
loader that users' files go through. Without a folder, the small recording in tests/ is compared.

    python -m scripts.parity FOLDER                        # the table
    python -m scripts.parity FOLDER --reduce tests/original_golden.npz
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile

from anitalker.network_config import VARIANTS, DenoiserConfig, StageOneConfig
from anitalker.original import checkpoints
from anitalker.original.stage_one import StageOne
from anitalker.weights.weight_file import open_weights
from scripts.evaluation import original_values, synthetic_weights

Arrays = dict[str, np.ndarray]
GOLDEN = Path(__file__).resolve().parent.parent / "tests/original_golden.npz"
PARTS = ("sched", "mfcc", "stage1", *(f"stage2_{variant}" for variant in VARIANTS))
INPUTS = ("location", "scale", "pose", "noise", "start", "motion_start")
KEPT = 1000  # numbers of an array that the small recording keeps
BYTES = 0.01  # share of a frame's bytes that may differ, by one: they are cut, not rounded
FOREIGN = {"disc.final.weight": torch.ones(3, 3), "loss.center": torch.zeros(7)}  # what only training needed
UNUSED = {  # names of the published files that our networks do not have, with shapes
    "dec.to_rgb1.bias": (1, 3, 1, 1),
    "dec.convs.1.noise.weight": (1,),
    "dec.convs.0.conv.blur.kernel": (4, 4),
    "x_T": (2, 3),
    "model.out_proj.bias": (20,),
}


def recorded(section: str, folder: Path | None = None) -> Arrays:
    """The recording of one of PARTS: whole from a folder, else the small one."""
    if folder is not None:
        return dict(np.load(folder / f"{section}.npz"))
    with np.load(GOLDEN) as golden:
        return {key.split("/")[1]: golden[key] for key in golden.files if key.startswith(f"{section}/")}


def errors(golden: Arrays, values: Arrays, whole: bool) -> dict[str, float]:
    """Relative L2 error per recorded key that is no input; of the kept numbers only if not `whole`.

    Infinite where a key is missing or has another shape. Frames of bytes count as 0 when no byte is off by more than
    one and at most BYTES of them are off.
    """
    report = {}
    for key, theirs in golden.items():
        if key in INPUTS or key.startswith("audio"):
            continue
        ours = np.asarray(values[key]) if key in values else np.zeros(0)
        ours, theirs = (ours if whole else thin(ours)).astype(np.float64), theirs.astype(np.float64)
        if ours.shape != theirs.shape:
            report[key] = float("inf")
        elif key.endswith("_u8"):
            off = np.abs(theirs - ours)
            report[key] = 0.0 if off.max() <= 1 and (off > 0).mean() <= BYTES else float("inf")
        else:
            report[key] = float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12))
    return report


def thin(array: np.ndarray) -> np.ndarray:
    """About KEPT numbers of an array, at an odd stride so that all rows and columns get their turn; few stay whole."""
    flat = array.reshape(-1)
    return flat[:: (len(flat) // KEPT) | 1] if len(flat) > 2 * KEPT else array


def outputs(section: str, scratch: Path, folder: Path | None = None) -> Iterator[tuple[str, Arrays]]:
    """What ours makes of the recorded inputs, once per spelling of the weight file."""
    golden = recorded(section, folder)
    if section == "sched":
        yield "", original_values.schedules(golden)
    elif section == "mfcc":
        yield "", original_values.cepstra(golden, synthetic_weights.tone_wave(), speech(folder))
    else:
        for spelling, path in spelled(section, scratch, folder):
            yield spelling, run(checkpoints.load(open_weights(path), f"original_{section[:6]}"), golden)


def run(network: torch.nn.Module, golden: Arrays) -> Arrays:
    """What a loaded network makes of the synthetic inputs: the keys of `golden`."""
    if isinstance(network, StageOne):
        return original_values.pictures(network, synthetic_weights.portrait_u8(), golden["render_motion"])
    return original_values.motion(network, golden)


def spelled(section: str, scratch: Path, folder: Path | None = None) -> Iterator[tuple[str, Path]]:
    """The synthetic weights of a part as a file, in each of its spellings; a file is gone when the next one comes."""
    whole = checkpoint(section, folder)
    published, slim = scratch / f"{section}.ckpt", scratch / f"{section}.safetensors"
    torch.save(whole, published)
    yield "published", published
    checkpoints.convert(open_weights(published), slim)
    if section == "stage1":
        torch.save({f"lia.{name}": tensor for name, tensor in whole.items()} | FOREIGN, published)
        yield "prefixed", published
    published.unlink()
    yield "converted", slim
    slim.unlink()


def checkpoint(section: str, folder: Path | None = None) -> dict[str, torch.Tensor]:
    """The synthetic weight file of a part: all names of a folder's manifest, else those that count and UNUSED ones."""
    if folder is not None:
        manifest = json.loads((folder / f"manifest_{section}.json").read_text())
        shapes = {entry["name"]: (entry["shape"], entry["dtype"] == "int64") for entry in manifest}
    else:
        prefix, config = ("", StageOneConfig()) if section == "stage1" else ("ema_model.", DenoiserConfig(section[7:]))
        expected = checkpoints.expected_tensors(config).items()
        shapes = {prefix + name: (tensor.shape, not tensor.is_floating_point()) for name, tensor in expected}
        shapes |= {name: (shape, False) for name, shape in UNUSED.items() if name.startswith("dec.") == (not prefix)}
    return {name: torch.from_numpy(synthetic_weights.weight(name, *shape)) for name, shape in shapes.items()}


def speech(folder: Path | None) -> np.ndarray:
    """The recorded speech, float32 in -1..1. It is not ours to hand on: the small recording goes without."""
    if folder is None:
        return np.zeros(400, np.float32)
    return wavfile.read(folder / "speech_3s.wav")[1].astype(np.float32) / 32768


def reduce(folder: Path, path: Path) -> None:
    """The small recording: every key that is neither an input nor made of the recorded speech, thinned."""
    small = {}
    for section in PARTS:
        for key, array in recorded(section, folder).items():
            if key not in INPUTS and not key.startswith(("audio_", "speech_")) and key != "audio":
                small[f"{section}/{key}"] = thin(array)
    np.savez_compressed(path, **small)
    print(f"{path}: {len(small)} arrays, {path.stat().st_size} bytes")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="a whole recording (default: the small)")
    parser.add_argument("--reduce", type=Path, metavar="OUT.npz", help="only: write the small recording of FOLDER")
    arguments = parser.parse_args(argv)
    folder = arguments.folder
    if arguments.reduce:
        if not folder:
            raise SystemExit("error: --reduce needs the FOLDER of a whole recording")
        return reduce(folder, arguments.reduce)
    print(f"{'part':32} {'spelling':10} {'keys':>5} {'worst':>9}  key")
    with tempfile.TemporaryDirectory() as scratch:
        for section in PARTS:
            for spelling, values in outputs(section, Path(scratch), folder):
                report = errors(recorded(section, folder), values, whole=folder is not None)
                worst = max(report, key=report.get)
                print(f"{section:32} {spelling:10} {len(report):5} {report[worst]:9.2e}  {worst}", flush=True)


if __name__ == "__main__":
    main()
