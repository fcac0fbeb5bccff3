"""Loads weights strictly into networks and models, by registry name, file or folder."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from anitalker.config import InputError
from anitalker.network_config import (
    Config,
    DecoderConfig,
    DetectorConfig,
    GeneratorConfig,
    IrisConfig,
    LandmarkConfig,
    MatteConfig,
    MotionSpaceConfig,
    MouthConfig,
    PhoneticConfig,
    SpeechConfig,
    from_dict,
)
from anitalker.original import checkpoints
from anitalker.runtime.memory import share_heap
from anitalker.weights import tensor_io
from anitalker.weights.registry import resolve
from anitalker.weights.weight_file import WeightFile, open_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from anitalker.decoder.decoder import Decoder
    from anitalker.decoder.iris import IrisNetwork
    from anitalker.decoder.mouth import MouthSynthesizer
    from anitalker.faces.detection import FaceFinder
    from anitalker.faces.face_network import FaceNetwork
    from anitalker.faces.verifier import VerifierNetwork
    from anitalker.matte.network import MatteNetwork
    from anitalker.models.base import Model
    from anitalker.models.lite import Networks
    from anitalker.motion.generator import MotionGenerator
    from anitalker.motion.motion_space import MotionSpace
    from anitalker.motion.prior import MotionPrior
    from anitalker.original.denoiser import Denoiser
    from anitalker.original.stage_one import StageOne
    from encoders.phonetic import PhoneticEncoder

MODEL_PARTS = ("motion_space", "decoder", "generator")
OPTIONAL_PARTS = ("phonetic", "mouth")  # models of version 0.1 have none


def load(
    name: str | os.PathLike,
    device: torch.device,
    stage1: str | os.PathLike | None = None,
    stage2: str | os.PathLike | None = None,
    hubert: str | os.PathLike | None = None,
) -> Model:
    """Load a model by registry name, weight file or folder, onto a device.

    `original` has two stages, each a registry name or a file. Without a name, a registered file that is present is
    taken. A file of stage two may also be given as `name`. hubert: a folder or hub name with the weights of HuBERT, for
    the variants that use it. InputError for unknown or unsuitable weights.
    """
    share_heap()
    files = open_model(name, stage1, stage2)
    if len(files) == 2:
        from anitalker.models.original import Original

        return Original(*_original_networks(files), device, hubert, fingerprint=_fingerprint(files))
    for flag, value in (("stage1", stage1), ("stage2", stage2), ("hubert", hubert)):
        if value is not None:
            raise InputError(f"--{flag} came with --model {name}; it belongs to --model original")
    from anitalker.models.lite import Lite

    networks = _networks(files[0], name)
    prior = partial(load_prior, networks.motion_space)
    # The cast: pyright does not take a cached_property for the protocol's property.
    return cast("Model", Lite(networks, device, prior, _fingerprint(files), load_iris))


def open_model(
    name: str | os.PathLike, stage1: str | os.PathLike | None = None, stage2: str | os.PathLike | None = None
) -> tuple[WeightFile, ...]:
    """The verified files of a model: one for `lite`; stage one and stage two for the original.

    Without a name, stage one is the fetched file, and stage two the first variant that is present, those with full
    control before others.
    """
    if str(name) != "original":
        file = open_weights(name)
        if stage2 is not None or checkpoints.recognise(file.config, file.tensors) != "original_stage2":
            return (file,)
        second = file
    else:
        second = open_weights(stage2 or _default_variant())
    return open_weights(stage1 or "stage1"), second


def fingerprint(
    name: str | os.PathLike, stage1: str | os.PathLike | None = None, stage2: str | os.PathLike | None = None
) -> str:
    """SHA-256 of the weights that `load` reads for these names; for the original stage one's, a plus, stage two's."""
    return _fingerprint(open_model(name, stage1, stage2))


def _fingerprint(files: tuple[WeightFile, ...]) -> str:
    return "+".join(file.sha256 for file in files)


def read(name: str | os.PathLike) -> tuple[dict, dict[str, Tensor]]:
    """Config and float32 tensors of a registry name, file or folder. Nothing in the file is ever executed."""
    return contents(open_weights(name), name)


def contents(file: WeightFile, name: str | os.PathLike) -> tuple[dict, dict[str, Tensor]]:
    """Config and float32 tensors of one of our files; InputError for the original's files, NaN or infinity."""
    import torch

    if kind := checkpoints.recognise(file.config, file.tensors):
        stage = checkpoints.KINDS[kind]
        raise InputError(
            f"weights {str(file.path)!r} are one of the original's two; use --model original --{stage} {name}"
        )
    if file.config is None:
        raise InputError(f"weights {str(file.path)!r} carry no config; make them with scripts.export")
    tensor_io.check_finite(file.path, file.tensors)
    # Copies: networks take them as they are, and the file may be written anew.
    kinds = {key: torch.float32 if value.is_floating_point() else value.dtype for key, value in file.tensors.items()}
    return file.config, {key: value.to(kinds[key], copy=True) for key, value in file.tensors.items()}


def load_model(name: str | os.PathLike) -> Networks:
    """The networks of a `lite` model, strictly loaded; InputError names missing, unknown or misshapen keys."""
    return _networks(open_weights(name), name)


def _networks(file: WeightFile, name: str | os.PathLike) -> Networks:
    from anitalker.models.lite import Networks
    from anitalker.runtime.uninitialised import Uninitialised
    from encoders.speech import SpeechFeatures

    config, tensors = contents(file, name)
    with Uninitialised():
        modules = build(config, MODEL_PARTS + tuple(part for part in OPTIONAL_PARTS if part in config), str(name))
    fill(modules, tensors, str(name))
    phonetic = cast("PhoneticEncoder | None", modules.get("phonetic"))
    speech = SpeechFeatures(**vars(_config(SpeechConfig, config, "speech", name)), phonetic=phonetic)
    if speech.size != (heard := config["generator"]["speech_size"]):
        raise InputError(
            f"weights {str(name)!r} have {speech.size} speech features, but their generator hears {heard}; export them "
            "again with the phonetic encoder that it was trained with"
        )
    return Networks(
        cast("MotionSpace", modules["motion_space"]),
        cast("Decoder", modules["decoder"]),
        cast("MotionGenerator", modules["generator"]),
        speech,
        Path(name).stem,
        cast("MouthSynthesizer | None", modules.get("mouth")),
    )


def load_original(
    stage1: str | os.PathLike | None = None, stage2: str | os.PathLike | None = None
) -> tuple[StageOne, Denoiser]:
    """The original's two networks, float32 on the CPU, from registry names or files of any spelling."""
    return _original_networks(open_model("original", stage1, stage2))


def _original_networks(files: tuple[WeightFile, ...]) -> tuple[StageOne, Denoiser]:
    first, second = files
    denoiser = checkpoints.load(second, "original_stage2")
    return cast("StageOne", checkpoints.load(first, "original_stage1")), cast("Denoiser", denoiser)


def _default_variant() -> str:
    """The stage two to take among those that are present: MFCC first, because HuBERT needs a further network."""
    order = ("mfcc_full_control", "hubert_full_control", "hubert_audio_only", "hubert_pose_only", "mfcc_pose_only")
    for name in order:
        try:
            resolve(name)
            return name
        except InputError:
            continue
    raise InputError(
        f"no stage two of the original is here; run `anitalker models fetch stage1 {order[0]}`, or give --stage1 and "
        f"--stage2 with files; names of stage two are {', '.join(order)}"
    )


def convert(name: str | os.PathLike, target: Path) -> dict:
    """Write a registry name or file as a slim .safetensors with its config inside -> facts of `checkpoints.convert`."""
    if Path(name).is_dir():
        raise InputError(f"weights {str(name)!r} are a folder; python -m scripts.export makes a file of training runs")
    file = open_weights(name)
    if target.exists() and file.path.samefile(target):
        raise InputError(f"output is the input: {str(target)!r}; choose another name")
    return checkpoints.convert(file, target)


def load_face(name: str | os.PathLike = "face") -> FaceNetwork:
    """The face network, strictly loaded, in evaluation mode."""
    from anitalker.faces.face_network import FaceNetwork
    from anitalker.runtime.uninitialised import Uninitialised

    config, tensors = read(name)
    detector = _config(DetectorConfig, config, "detector", name)
    landmarks = _config(LandmarkConfig, config, "landmarks", name)
    with Uninitialised():
        network = FaceNetwork(detector=detector, landmarks=landmarks)
    fill({part: getattr(network, part) for part in ("detector", "landmarks")}, tensors, str(name))
    return network.eval()


def load_finder(backend: str, device: torch.device) -> FaceFinder:
    """The face finder of a backend: own, or face-alignment."""
    if backend == "own":
        from anitalker.faces.detection import FaceFinder

        return FaceFinder(load_face(), device)
    from anitalker.faces.face_alignment_backend import FaceAlignmentFinder

    return FaceAlignmentFinder(read("landmarks68")[1], device)


def load_verifier(name: str | os.PathLike = "verifier") -> tuple[dict, VerifierNetwork]:
    """The identity verifier and the config of its file; InputError for a file of another kind."""
    from anitalker.faces.verifier import VerifierNetwork

    config, tensors = read(name)
    sizes = config.get("verifier")
    if not isinstance(sizes, dict):
        raise InputError(f"{str(name)!r} is no verifier; make one with scripts.train_verifier")
    network = VerifierNetwork(tuple(sizes["widths"]), sizes["size"])
    fill({"verifier": network}, tensors, str(name))
    return config, network


def load_matte(name: str | os.PathLike = "matte") -> MatteNetwork:
    """The matte network, strictly loaded, in evaluation mode; InputError for a file of another kind."""
    from anitalker.matte.network import MatteNetwork
    from anitalker.runtime.uninitialised import Uninitialised

    config, tensors = read(name)
    with Uninitialised():
        network = MatteNetwork(_config(MatteConfig, config, "matte", name))
    fill({"matte": network}, tensors, str(name))
    return network


def load_iris(name: str | os.PathLike = "iris") -> IrisNetwork | None:
    """The iris locator, strictly loaded; None where its file is not there."""
    from anitalker.decoder.iris import IrisNetwork

    try:
        resolve(name)
    except InputError:
        return None
    config, tensors = read(name)
    network = IrisNetwork(_config(IrisConfig, config, "iris", name))
    fill({"iris": network}, tensors, str(name))
    return network


def load_prior(space: nn.Module) -> MotionPrior | None:
    """The shipped prior; None if it is missing or was trained on another motion space."""
    from anitalker.motion.prior import MotionPrior, space_hash

    try:
        config, tensors = read("motion_prior")
    except InputError:
        return None
    if config["prior"]["space"] != space_hash(space.state_dict()):
        return None
    prior = MotionPrior.from_config(config)
    untrained = {
        f"covers.{key}": tensor for key, tensor in prior.covers.state_dict().items()
    }  # older files lack these keys
    prior.load_state_dict(untrained | tensors)
    return prior.eval()


def build(config: dict, parts: tuple[str, ...], name: str) -> dict[str, nn.Module]:
    """Untrained networks of a model, by part, from the config that is stored with its weights."""
    from anitalker.decoder.decoder import Decoder
    from anitalker.decoder.mouth import MouthSynthesizer
    from anitalker.motion.generator import MotionGenerator
    from anitalker.motion.motion_space import MotionSpace
    from encoders.phonetic import PhoneticEncoder

    kinds = {
        "motion_space": (MotionSpace, MotionSpaceConfig),
        "decoder": (Decoder, DecoderConfig),
        "generator": (MotionGenerator, GeneratorConfig),
        "mouth": (MouthSynthesizer, MouthConfig),
        "phonetic": (lambda sizes: PhoneticEncoder(**vars(sizes)), PhoneticConfig),
    }
    return {part: kinds[part][0](_config(kinds[part][1], config, part, name)) for part in parts}


def fill(modules: dict[str, nn.Module], tensors: dict[str, Tensor], name: str) -> None:
    """Give modules their "<module>.<key>" tensors; InputError unless every key is present, known and of its shape."""
    expected = {
        f"{part}.{key}": tensor for part, module in modules.items() for key, tensor in module.state_dict().items()
    }
    wrong = [
        f"{key} is {list(tensors[key].shape)} instead of {list(expected[key].shape)}"
        for key in expected
        if key in tensors and tensors[key].shape != expected[key].shape
    ]
    problems = [
        f"{kind} {tensor_io.first_names(keys)}"
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
        prefix = f"{part}."
        state = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        module.load_state_dict(state, assign=True)
        module.eval().requires_grad_(False)


def _config(kind: type[Config], config: dict, part: str, name: str | os.PathLike) -> Config:
    """One part's config dataclass out of a weight file's config."""
    if not isinstance(config.get(part), dict):
        raise InputError(f"weights {str(name)!r} have no config of {part!r}; make them with scripts.export")
    tensor_io.check_sizes(name, config[part])
    try:
        return from_dict(kind, config[part])
    except (TypeError, ValueError) as error:
        raise InputError(f"weights {str(name)!r}: config of {part!r} is wrong ({error}); export them again") from None
