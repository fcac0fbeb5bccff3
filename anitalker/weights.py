"""Weights -> networks: by name or file, tensors only, strictly loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker import original_weights, weight_files
from anitalker.config import (
    DecoderConfig,
    DetectorConfig,
    GeneratorConfig,
    InputError,
    LandmarkConfig,
    MotionSpaceConfig,
    SpeechConfig,
    from_dict,
)
from anitalker.registry import find, sha256, verified

if TYPE_CHECKING:
    from torch import Tensor, nn

    from anitalker.conformer import Denoiser
    from anitalker.decoder import Decoder
    from anitalker.face_network import FaceNetwork
    from anitalker.generator import MotionGenerator
    from anitalker.motion_prior import MotionPrior
    from anitalker.motion_space import MotionSpace
    from anitalker.original import StageOne

MODEL_PARTS = ("motion_space", "decoder", "generator")


@dataclass(frozen=True)
class Networks:
    """One model, in float32 on the CPU, ready to be moved."""

    motion_space: MotionSpace
    decoder: Decoder
    generator: MotionGenerator
    speech: nn.Module
    name: str


def read(name: str | os.PathLike) -> tuple[dict, dict[str, Tensor]]:
    """Config and float32 tensors of a registry name, file or folder. Nothing in the file is ever executed."""
    path = verified(name)
    config, tensors = weight_files.read(path)
    if kind := original_weights.recognise(config, tensors):
        stage = original_weights.KINDS[kind]
        raise InputError(f"weights {str(path)!r} are one of the original's two; use --model original --{stage} {name}")
    if config is None:
        raise InputError(f"weights {str(path)!r} carry no config; make them with scripts.export")
    weight_files.check_finite(path, tensors)
    return config, {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}


def load_model(name: str | os.PathLike) -> Networks:
    """The networks of a model, strictly loaded; InputError names what is missing, unknown or of a wrong shape."""
    from encoders.speech import SpeechFeatures

    config, tensors = read(name)
    modules = build(config, MODEL_PARTS, str(name))
    fill(modules, tensors, str(name))
    speech = SpeechFeatures(**vars(_config(SpeechConfig, config, "speech", name)))
    return Networks(**modules, speech=speech, name=Path(name).stem)


def kind(name: str | os.PathLike) -> str | None:
    """Whose weights a name or file has: original_stage1, original_stage2, or None for ours."""
    return original_weights.recognise(*weight_files.read(find(name)[0]))


def fingerprint(
    name: str | os.PathLike, stage1: str | os.PathLike | None = None, stage2: str | os.PathLike | None = None
) -> str:
    """SHA-256 of the weights that `model.load` reads for these names; of the original both, stage one first, and a plus
    between them."""
    names = [name]
    if str(name) == "original" or stage2 is not None or kind(name) == "original_stage2":
        names = [stage1 or "stage1", stage2 or (_default_variant() if str(name) == "original" else name)]
    return "+".join(entry.sha256 if entry and entry.sha256 else sha256(path) for path, entry in map(find, names))


def load_original(
    stage1: str | os.PathLike | None = None, stage2: str | os.PathLike | None = None
) -> tuple[StageOne, Denoiser]:
    """The original's two networks, float32 on the CPU, from registry names or files of any spelling.

    Without a name, stage one is the fetched one and stage two the first that is here, full control before others.
    """
    paths = [verified(name) for name in (stage2 or _default_variant(), stage1 or "stage1")]
    second, first = map(original_weights.load, paths, ("original_stage2", "original_stage1"))
    return first, second


def _default_variant() -> str:
    """The stage two to take among those that are here: MFCC first, because HuBERT needs a further network."""
    order = ("mfcc_full_control", "hubert_full_control", "hubert_audio_only", "hubert_pose_only", "mfcc_pose_only")
    for name in order:
        try:
            find(name)
            return name
        except InputError:
            continue
    raise InputError(
        f"no stage two of the original is here; run `anitalker models fetch stage1 {order[0]}`, or give --stage1 and "
        f"--stage2 with files; names of stage two are {', '.join(order)}"
    )


def convert(name: str | os.PathLike, target: Path) -> dict:
    """A registry name or file -> slim .safetensors with its config inside; facts as `original_weights.convert` says."""
    if Path(name).is_dir():
        raise InputError(f"weights {str(name)!r} are a folder; python -m scripts.export makes a file of training runs")
    path = verified(name)
    if target.exists() and path.samefile(target):
        raise InputError(f"output is the input: {str(target)!r}; choose another name")
    return original_weights.convert(path, target)


def load_face(name: str | os.PathLike = "face") -> FaceNetwork:
    """The face network, strictly loaded, in evaluation mode."""
    from anitalker.face_network import FaceNetwork

    config, tensors = read(name)
    kinds = {"detector": DetectorConfig, "landmarks": LandmarkConfig}
    network = FaceNetwork(**{part: _config(kind, config, part, name) for part, kind in kinds.items()})
    fill({part: getattr(network, part) for part in kinds}, tensors, str(name))
    return network.eval()


def load_prior(space: nn.Module) -> MotionPrior | None:
    """The shipped prior if it was trained on this motion space; None where it was not, or is not here."""
    from anitalker.motion_prior import MotionPrior, space_hash

    try:
        config, tensors = read("motion_prior")
    except InputError:
        return None
    if config["prior"]["space"] != space_hash(space.state_dict()):
        return None
    prior = MotionPrior.from_config(config)
    untrained = {f"covers.{key}": tensor for key, tensor in prior.covers.state_dict().items()}  # for older files
    prior.load_state_dict(untrained | tensors)
    return prior.eval()


def build(config: dict, parts: tuple[str, ...], name: str) -> dict[str, nn.Module]:
    """Untrained networks of a model from the config that travels with its weights, by part."""
    from anitalker.decoder import Decoder
    from anitalker.generator import MotionGenerator
    from anitalker.motion_space import MotionSpace

    kinds = {
        "motion_space": (MotionSpace, MotionSpaceConfig),
        "decoder": (Decoder, DecoderConfig),
        "generator": (MotionGenerator, GeneratorConfig),
    }
    return {part: kinds[part][0](_config(kinds[part][1], config, part, name)) for part in parts}


def fill(modules: dict[str, nn.Module], tensors: dict[str, Tensor], name: str) -> None:
    """Load "<module>.<key>" tensors into modules; every key must be there, known and of its shape."""
    expected = {
        f"{part}.{key}": tensor for part, module in modules.items() for key, tensor in module.state_dict().items()
    }
    wrong = [
        f"{key} is {list(tensors[key].shape)} instead of {list(expected[key].shape)}"
        for key in expected
        if key in tensors and tensors[key].shape != expected[key].shape
    ]
    problems = [
        f"{kind} {weight_files.some(keys)}"
        for kind, keys in (
            ("missing:", sorted(set(expected) - set(tensors))),
            ("unknown:", sorted(set(tensors) - set(expected))),
            ("wrong shape:", wrong),
        )
        if keys
    ]
    if problems:
        raise InputError(f"weights {name!r} do not fit their network; {'; '.join(problems)}; export them again")
    for part, module in modules.items():
        own = {key.removeprefix(f"{part}."): tensor for key, tensor in tensors.items() if key.startswith(f"{part}.")}
        module.load_state_dict(own)
        module.eval().requires_grad_(False)


def _config(kind: type, config: dict, part: str, name: str | os.PathLike):
    if not isinstance(config.get(part), dict):
        raise InputError(f"weights {str(name)!r} have no config of {part!r}; make them with scripts.export")
    weight_files.check_sizes(name, config[part])
    try:
        return from_dict(kind, config[part])
    except (TypeError, ValueError) as error:
        raise InputError(f"weights {str(name)!r}: config of {part!r} is wrong ({error}); export them again") from None
