"""Our networks of the original against its recorded numbers: a table of errors, and the small recording in tests/.

FOLDER is a recording of the public original with made-up weights: stage1.npz, stage2_<variant>.npz, sched.npz,
mfcc.npz, speech_3s.wav, manifests of the weight files and make_weights.py. Every spelling of the files goes through the
loader that users' files go through. Without a folder, the small recording in tests/ is compared.

    python -m scripts.parity FOLDER                        # the table
    python -m scripts.parity FOLDER --reduce tests/original_golden.npz
"""

from __future__ import annotations

import argparse
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from anitalker.config import VARIANTS, DenoiserConfig, StageOneConfig
from anitalker.original import checkpoints
from anitalker.original.stage_one import StageOne
from anitalker.weights.weight_file import open_weights
from scripts.evaluation import made_up, motion_parity, picture_parity

Arrays = dict[str, np.ndarray]
GOLDEN = Path(__file__).resolve().parent.parent / "tests/original_golden.npz"
PARTS = ("sched", "mfcc", "stage1", *(f"stage2_{variant}" for variant in VARIANTS))
KEPT = 1000  # numbers of an array that the small recording keeps
BYTES = 0.01  # share of a frame's bytes that may differ, by one: they are cut, not rounded
FOREIGN = {"disc.final.weight": torch.ones(3, 3), "loss.center": torch.zeros(7)}  # what only training needed
DEAD = {"dec.to_rgb1.bias": (1, 3, 1, 1), "dec.convs.1.noise.weight": (1,), "dec.convs.0.conv.blur.kernel": (4, 4)}


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    folder = Path(arguments.folder) if arguments.folder else None
    if arguments.reduce:
        reduce(folder, Path(arguments.reduce))
        return
    print(f"{'part':32} {'spelling':10} {'keys':>5} {'worst':>9}  key")
    with tempfile.TemporaryDirectory() as scratch:
        for part in PARTS:
            for spelling, made in outputs(part, Path(scratch), folder):
                found = errors(recorded(part, folder), made, whole=folder is not None)
                worst = max(found, key=found.get)
                print(f"{part:32} {spelling:10} {len(found):5} {found[worst]:9.2e}  {worst}", flush=True)


def recorded(part: str, folder: Path | None = None) -> Arrays:
    """The recording of one of PARTS: whole from a folder, else the small one."""
    if folder is not None:
        return dict(np.load(folder / f"{part}.npz"))
    with np.load(GOLDEN) as golden:
        return {key.split("/")[1]: golden[key] for key in golden.files if key.startswith(f"{part}/")}


def errors(golden: Arrays, made: Arrays, whole: bool) -> dict[str, float]:
    """Relative L2 error per recorded key that is no input; of the kept numbers only if not `whole`.

    Frames of bytes count as 0 when no byte is off by more than one and at most BYTES of them are off.
    """
    if not whole:
        made = {key: thin(np.asarray(value)) for key, value in made.items()}
    found = motion_parity.errors(golden, made)
    for key in found:
        if key.endswith("_u8") and np.isfinite(found[key]):
            off = np.abs(golden[key].astype(int) - made[key])
            found[key] = 0.0 if off.max() <= 1 and (off > 0).mean() <= BYTES else float("inf")
    return found


def thin(array: np.ndarray) -> np.ndarray:
    """About KEPT numbers of an array, at an odd stride so that all rows and columns get their turn; few stay whole."""
    flat = array.reshape(-1)
    return flat[:: (len(flat) // KEPT) | 1] if len(flat) > 2 * KEPT else array


def outputs(part: str, scratch: Path, folder: Path | None = None) -> Iterator[tuple[str, Arrays]]:
    """What ours makes of the recorded inputs, once per spelling of the weight file."""
    if part == "sched":
        yield "", motion_parity.schedules(recorded(part, folder))
    elif part == "mfcc":
        yield "", motion_parity.cepstra(recorded(part, folder) | {"tone_wave": made_up.tone_wave()}, speech(folder))
    else:
        for spelling, path in spelled(part, scratch, folder):
            yield (
                spelling,
                run(checkpoints.load(open_weights(path), f"original_{part[:6]}"), recorded(part, folder)),
            )


def spelled(part: str, scratch: Path, folder: Path | None = None) -> Iterator[tuple[str, Path]]:
    """The made-up weights of a part as a file, in each of its spellings; a file is gone when the next one comes."""
    whole = checkpoint(part, folder)
    published = scratch / f"{part}.ckpt"
    torch.save(whole, published)
    yield "published", published
    slim = scratch / f"{part}.safetensors"
    checkpoints.convert(open_weights(published), slim)
    published.unlink()
    if part == "stage1":
        torch.save({f"lia.{name}": tensor for name, tensor in whole.items()} | FOREIGN, published)
        yield "prefixed", published
        published.unlink()
    yield "converted", slim
    slim.unlink()


def checkpoint(part: str, folder: Path | None = None) -> dict[str, torch.Tensor]:
    """The made-up weight file of a part: from a folder's manifest by its own script, else all names that count by ours
    and a few that do not."""
    if folder is not None:
        built = motion_parity.maker(folder).build(folder / f"manifest_{part}.json")
        return {name: torch.from_numpy(np.array(array)) for name, array in built.items()}
    prefix, config = ("", StageOneConfig()) if part == "stage1" else ("ema_model.", DenoiserConfig(part[7:]))
    made = {
        prefix + name: torch.from_numpy(made_up.weight(prefix + name, t.shape, not t.is_floating_point()))
        for name, t in checkpoints.expected_tensors(config).items()
    }
    if part == "stage1":
        return made | {name: torch.zeros(shape) for name, shape in DEAD.items()}
    return made | {"x_T": torch.zeros(2, 3), "model.out_proj.bias": torch.zeros(20)}


def run(network: torch.nn.Module, golden: Arrays) -> Arrays:
    """What a loaded network makes of the made-up inputs: the keys of `golden`."""
    if isinstance(network, StageOne):
        return picture_parity.make(network, made_up.portrait_u8(), golden["render_motion"])
    inputs = motion_parity.made_inputs(made_up, network.config.hears)
    return motion_parity.Recording(network, inputs).make(golden)


def speech(folder: Path | None) -> np.ndarray:
    """The recorded speech, float32 in -1..1. It is not ours to hand on: the small recording goes without."""
    if folder is None:
        return np.zeros(400, np.float32)
    with wave.open(str(folder / "speech_3s.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def reduce(folder: Path, path: Path) -> None:
    """The small recording: every key that is neither an input nor made of the recorded speech, thinned."""
    small = {}
    for part in PARTS:
        for key, array in recorded(part, folder).items():
            if key not in motion_parity.INPUTS and not key.startswith(("audio_", "speech_")) and key != "audio":
                small[f"{part}/{key}"] = thin(array)
    np.savez_compressed(path, **small)
    print(f"{path}: {len(small)} arrays, {path.stat().st_size} bytes")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="a whole recording (default: the small one)")
    parser.add_argument("--reduce", metavar="OUT.npz", help="only: write the small recording of FOLDER")
    arguments = parser.parse_args(argv)
    if arguments.reduce and not arguments.folder:
        raise SystemExit("error: --reduce needs the FOLDER of a whole recording")
    return arguments


if __name__ == "__main__":
    main()
