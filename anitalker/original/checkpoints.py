"""The original's published files: both spellings of their names, sizes from shapes, strict loading, slim conversion.

Stage one is a flat dict of `enc.*` and `dec.*`, or the same with `lia.` in the names, and entries that only training
needed. Stage two holds `ema_model.*`, the averaged weights, which alone are used, and also `model.*` and `x_T`. What is
returned here has exactly the names of `stage_one.StageOne` and `denoiser.Denoiser`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anitalker.config import InputError
from anitalker.network_config import VARIANTS, DenoiserConfig, StageOneConfig, from_dict, to_dict
from anitalker.weights import tensor_io

if TYPE_CHECKING:
    from torch import Tensor, nn

    from anitalker.weights.weight_file import WeightFile

    Config = StageOneConfig | DenoiserConfig
    Tensors = dict[str, Tensor]

KINDS = {"original_stage1": "stage1", "original_stage2": "stage2"}  # "kind" of a config -> key of its sizes
CONFIG_TYPES = {"original_stage1": StageOneConfig, "original_stage2": DenoiserConfig}
STAGE_NAMES = {"original_stage1": "stage one", "original_stage2": "stage two"}
EMA_PREFIX = "ema_model."


def read_stage_one(path: Path) -> tuple[dict, Tensors]:
    """{"kind": "original_stage1", "stage1": StageOneConfig as a dict} and the tensors of `stage_one.StageOne`.

    InputError names tensors that are missing, of another shape, or NaN, and says so if the file is something else.
    """
    return _slim_of(path, "original_stage1", *tensor_io.read(path))


def read_stage_two(path: Path) -> tuple[dict, Tensors]:
    """{"kind": "original_stage2", "stage2": DenoiserConfig as a dict} and the tensors of `denoiser.Denoiser`."""
    return _slim_of(path, "original_stage2", *tensor_io.read(path))


def load(file: WeightFile, kind: str) -> nn.Module:
    """The network of a file: StageOne or Denoiser, float32, in evaluation mode. kind: a key of KINDS."""
    config, tensors = _slim_of(file.path, kind, file.config, file.tensors)
    module = network(from_dict(CONFIG_TYPES[kind], config[KINDS[kind]]))
    module.load_state_dict(tensors)
    return module.eval().requires_grad_(False)


def convert(file: WeightFile, target: Path) -> dict:
    """Write a file of the original, or one of ours in another format, as slim .safetensors with its config inside.

    Values and dtypes stay as they are. Returns facts for `--json`: kind, sizes in bytes, numbers of tensors.
    """
    source, config, tensors = file.path, file.config, file.tensors
    kind = recognise(config, tensors)
    kept = tensors
    if kind:
        config, kept = _slim(source, kind, config, tensors)
    elif config is None:
        raise InputError(f"weights {str(source)!r} carry no config and are not the original's; {_seen(tensors)}")
    tensor_io.check_finite(source, kept)
    tensor_io.write(target, config, kept)
    facts = {"output": str(target), "kind": kind or "ours", "tensors": len(kept), "dropped": len(tensors) - len(kept)}
    if kind == "original_stage2":
        facts["variant"] = config["stage2"]["variant"]
    return {**facts, "bytes_before": source.stat().st_size, "bytes_after": target.stat().st_size}


def recognise(config: dict | None, tensors: Tensors) -> str | None:
    """The kind of a file, a key of KINDS; None if it is not one of the original's."""
    if config is not None:
        return config["kind"] if config.get("kind") in KINDS else None
    if any(name.startswith((EMA_PREFIX, "model.")) for name in tensors):
        return "original_stage2"
    return "original_stage1" if any(_plain(name).startswith(("enc.", "dec.")) for name in tensors) else None


def _slim_of(path: Path, kind: str, config: dict | None, tensors: Tensors) -> tuple[dict, Tensors]:
    """`_slim` of a file of this kind, with finite tensors only; InputError says what else the file is."""
    actual = recognise(config, tensors)
    if actual is None:
        raise InputError(f"weights {str(path)!r} are not the original's {STAGE_NAMES[kind]}; {_seen(tensors)}")
    if actual != kind:
        flag = KINDS[actual]
        raise InputError(
            f"weights {str(path)!r} are the original's {STAGE_NAMES[actual]}, not its {STAGE_NAMES[kind]}; "
            f"give them as --{flag}"
        )
    config, tensors = _slim(path, kind, config, tensors)
    tensor_io.check_finite(path, tensors)
    return config, tensors


def _slim(path: Path, kind: str, config: dict | None, tensors: Tensors) -> tuple[dict, Tensors]:
    """Config and exactly the tensors of the network."""
    key = KINDS[kind]
    if config is not None:
        candidates, strict = [_stored(path, config.get(key), CONFIG_TYPES[kind])], True
    elif kind == "original_stage1":
        tensors, strict = {_plain(name): tensor for name, tensor in tensors.items()}, False
        candidates = [StageOneConfig, lambda: stage_one_config(tensors)]
    else:
        tensors = {
            name.removeprefix(EMA_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(EMA_PREFIX)
        }
        if not tensors:
            raise InputError(
                f"weights {str(path)!r} have no {EMA_PREFIX}*, the averaged weights; get the published file"
            )
        variant, strict = _variant(path, tensors), True
        candidates = [lambda: DenoiserConfig(variant), lambda: denoiser_config(variant, tensors)]
    fit, problems, expected = _best(path, candidates, tensors, strict)
    if problems:
        raise InputError(
            f"weights {str(path)!r} do not fit the original's {STAGE_NAMES[kind]}; {'; '.join(problems)}; "
            "get them again"
        )
    return {"kind": kind, key: to_dict(fit)}, {name: tensors[name] for name in expected}


def _best(path: Path, candidates: list, tensors: Tensors, strict: bool) -> tuple[Config, list[str], dict]:
    """The first candidate that fits, or else the one with the fewest problems; its problems; its expected tensors."""
    best = None
    for make in candidates:
        try:
            config = make()
            expected = expected_tensors(config)
        except (ValueError, KeyError, IndexError, TypeError, RuntimeError, ZeroDivisionError):
            continue  # no network has these sizes
        missing = [name for name in expected if name not in tensors]
        unknown = [name for name in tensors if name not in expected] if strict else []
        wrong = [
            f"{name} is {_form(tensors[name])} instead of {_form(expected[name])}"
            for name in expected
            if name in tensors and _form(tensors[name]) != _form(expected[name])
        ]
        deviations = {"missing": missing, "unknown": unknown, "wrong": wrong}
        problems = [f"{what}: {tensor_io.first_names(names)}" for what, names in deviations.items() if names]
        count = sum(map(len, deviations.values()))
        if best is None or count < best[0]:
            best = count, config, problems, expected
    if best is None:
        raise InputError(f"weights {str(path)!r} have a config that describes no network; convert them again")
    return best[1:]


@lru_cache(maxsize=8)
def expected_tensors(config: Config) -> Tensors:
    """The state dict of a config's network on the meta device: names and shapes, without memory."""
    import torch

    with torch.device("meta"):
        return network(config).state_dict()


def network(config: Config) -> nn.Module:
    """The untrained network of a config."""
    if isinstance(config, DenoiserConfig):
        from anitalker.original.denoiser import Denoiser

        return Denoiser(config)
    from anitalker.original.stage_one import StageOne

    return StageOne(config)


def stage_one_config(tensors: Tensors) -> StageOneConfig:
    """The sizes that the tensors' shapes imply; the published ones where a tensor is missing."""
    usual = StageOneConfig()
    layers = [int(match[1]) for name in tensors if (match := re.match(r"dec\.convs\.(\d{1,2})\.", name))]
    names = ["dec.conv1.conv.weight", *(f"dec.convs.{n}.conv.weight" for n in range(0, max(layers, default=0) + 1, 2))]
    widths = tuple(tensors[name].shape[1] if name in tensors else usual.channels[0] for name in names)
    style = tensors["enc.fc.0.weight"].shape[1] if "enc.fc.0.weight" in tensors else usual.style
    motion = tensors["enc.fc.4.bias"].shape[0] if "enc.fc.4.bias" in tensors else usual.motion
    return StageOneConfig(2 ** (len(widths) + 1), style, motion, widths)


def denoiser_config(variant: str, tensors: Tensors) -> DenoiserConfig:
    """Sizes and numbers of layers that the tensors imply; the published ones where a tensor is missing."""
    decoder = "coarse_decoder.encoders.0"
    sources = {  # (tensor, axis) of each field
        "motion": ("out_proj.weight", 0),
        "start": ("init_code_proj.0.weight", 1),
        "width": ("down_sample1.weight" if variant.startswith("hubert") else "down_sample2.weight", 0),
        "decoder_hidden": (f"{decoder}.feed_forward.w_1.weight", 0),
        "side": ("t_encoder.0.weight", 0),
        "heads": (f"{decoder}.self_attn.pos_bias_u", 0),
        "kernel": (f"{decoder}.conv_module.depthwise_conv.weight", 2),
        "control": ("pose_predictor.fc.weight", 1),
    }
    if variant.startswith("hubert"):
        speech = "speech_encoder.encoders.0.feed_forward.w_1.weight"
        sources |= {"hubert": ("down_sample1.weight", 1), "hubert_layers": ("weights", 0), "speech_hidden": (speech, 0)}
    else:
        sources |= {"mfcc": ("down_sample1.weight", 1), "mfcc_hidden": ("down_sample1.weight", 0)}
    sizes = {field: tensors[name].shape[axis] for field, (name, axis) in sources.items() if name in tensors}
    for field, stack in (("decoder_layers", "coarse_decoder"), ("speech_layers", "speech_encoder")):
        layers = {match[1] for name in tensors if (match := re.match(rf"{stack}\.encoders\.(\d+)\.", name))}
        sizes |= {field: len(layers)} if layers else {}
    assert set(sizes) <= {field.name for field in fields(DenoiserConfig)}
    return DenoiserConfig(variant, **sizes)


def _variant(path: Path, tensors: Tensors) -> str:
    """The variant, one of VARIANTS: by its speech features, and by the control signals that it has networks for."""
    heads = {name.split(".")[0] for name in tensors}
    features = "hubert" if heads & {"weights", "speech_encoder"} else "mfcc"
    signals = ("pose",) if heads & {"pose_predictor", "pose_encoder"} else ()
    if any(head.startswith(("location_", "face_scale_")) for head in heads):
        signals = ("location", "scale", "pose")
    for variant, properties in VARIANTS.items():
        if properties == (features, signals):
            return variant
    raise InputError(
        f"weights {str(path)!r} are none of {', '.join(VARIANTS)}; they use {features} and have no pose input"
    )


def _stored(path: Path, values: Any, config_type: type) -> Callable[[], Config]:
    """A function that returns the config stored in a converted file; InputError if the config is wrong."""
    tensor_io.check_sizes(path, values)
    try:
        config = from_dict(config_type, values)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"weights {str(path)!r}: their config is wrong ({error}); convert them again") from None
    return lambda: config


def _plain(name: str) -> str:
    """A name of stage one without the prefix of the module that wrapped it in training."""
    return name.replace("lia.", "")


def _form(tensor: Tensor) -> str:
    """Shape of a tensor, and its dtype if that is no floating point."""
    return f"{list(tensor.shape)}" + ("" if tensor.is_floating_point() else f" of {str(tensor.dtype)[6:]}")


def _seen(tensors: Tensors) -> str:
    """What names were expected, and which ones a file has."""
    return f"allowed are enc.*, dec.* or {EMA_PREFIX}*, this has {tensor_io.first_names(list(tensors), 2)}"
