"""The original's published files: both spellings of their names, sizes from shapes, strictness, slim conversion.

Stage one is a flat dict of `enc.*` and `dec.*`, or the same with `lia.` in the names, beside entries that only training
needed. Stage two holds `ema_model.*`, the averaged weights and the only ones used, beside `model.*` and `x_T`, which
are dead weight. What is read here has the names of `stage_one.StageOne` and `conformer.Denoiser`, and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker.config import VARIANTS, DenoiserConfig, InputError, StageOneConfig, from_dict, to_dict
from anitalker.weights import tensor_io

if TYPE_CHECKING:
    from torch import Tensor, nn

    from anitalker.weights.weight_file import WeightFile

    Config = StageOneConfig | DenoiserConfig
    Tensors = dict[str, Tensor]

KINDS = {"original_stage1": "stage1", "original_stage2": "stage2"}  # "kind" of a config -> where its sizes stand
TYPES = {"original_stage1": StageOneConfig, "original_stage2": DenoiserConfig}
CALLED = {"original_stage1": "stage one", "original_stage2": "stage two"}
LIVE = "ema_model."


def read_stage_one(path: Path) -> tuple[dict, Tensors]:
    """{"kind": "original_stage1", "stage1": StageOneConfig as a dict} and the tensors of `stage_one.StageOne`.

    InputError names what is missing, of another shape, or NaN, and says when the file is something else.
    """
    return _slim_of(path, "original_stage1", *tensor_io.read(path))


def read_stage_two(path: Path) -> tuple[dict, Tensors]:
    """{"kind": "original_stage2", "stage2": DenoiserConfig as a dict} and the tensors of `conformer.Denoiser`."""
    return _slim_of(path, "original_stage2", *tensor_io.read(path))


def load(file: WeightFile, kind: str) -> nn.Module:
    """The network of a file, by key of KINDS: StageOne or Denoiser, float32, in evaluation mode."""
    config, tensors = _slim_of(file.path, kind, file.config, file.tensors)
    built = network(from_dict(TYPES[kind], config[KINDS[kind]]))
    built.load_state_dict(tensors)
    return built.eval().requires_grad_(False)


def convert(file: WeightFile, target: Path) -> dict:
    """Write a file of the original, or one of ours in another format, as slim .safetensors with its config inside.

    Values and number formats stay as they are. Returns facts: kind, sizes in bytes, how many tensors stayed and went.
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
    """Key of KINDS; None for what is not the original's."""
    if config is not None:
        return config["kind"] if config.get("kind") in KINDS else None
    if any(name.startswith((LIVE, "model.")) for name in tensors):
        return "original_stage2"
    return "original_stage1" if any(_plain(name).startswith(("enc.", "dec.")) for name in tensors) else None


def _slim_of(path: Path, kind: str, config: dict | None, tensors: Tensors) -> tuple[dict, Tensors]:
    """`_slim` of a file that is of this kind, every tensor finite; InputError says what the file is instead."""
    found = recognise(config, tensors)
    if found is None:
        raise InputError(f"weights {str(path)!r} are not the original's {CALLED[kind]}; {_seen(tensors)}")
    if found != kind:
        flag = KINDS[found]
        raise InputError(
            f"weights {str(path)!r} are the original's {CALLED[found]}, not its {CALLED[kind]}; give them as --{flag}"
        )
    config, tensors = _slim(path, kind, config, tensors)
    tensor_io.check_finite(path, tensors)
    return config, tensors


def _slim(path: Path, kind: str, config: dict | None, tensors: Tensors) -> tuple[dict, Tensors]:
    """Config and exactly the tensors of the network; everything else is left in the file."""
    part = KINDS[kind]
    if config is not None:
        candidates, strict = [_stored(path, config.get(part), TYPES[kind])], True
    elif kind == "original_stage1":
        tensors, strict = {_plain(name): tensor for name, tensor in tensors.items()}, False
        candidates = [StageOneConfig, lambda: stage_one_config(tensors)]
    else:
        tensors = {name.removeprefix(LIVE): tensor for name, tensor in tensors.items() if name.startswith(LIVE)}
        if not tensors:
            raise InputError(f"weights {str(path)!r} have no {LIVE}*, the averaged weights; get the published file")
        variant, strict = _variant(path, tensors), True
        candidates = [lambda: DenoiserConfig(variant), lambda: denoiser_config(variant, tensors)]
    fit, problems, expected = _best(path, candidates, tensors, strict)
    if problems:
        raise InputError(
            f"weights {str(path)!r} do not fit the original's {CALLED[kind]}; {'; '.join(problems)}; get them again"
        )
    return {"kind": kind, part: to_dict(fit)}, {name: tensors[name] for name in expected}


def _best(path: Path, candidates: list, tensors: Tensors, strict: bool) -> tuple[Config, list[str], dict]:
    """The first of the configs that fits, or else the one with the fewest deviations, which are named."""
    best = None
    for make in candidates:
        try:
            config = make()
            expected = expected_tensors(config)
        except (ValueError, KeyError, IndexError, TypeError, RuntimeError, ZeroDivisionError):
            continue  # sizes that make no network
        missing = [name for name in expected if name not in tensors]
        unknown = [name for name in tensors if name not in expected] if strict else []
        wrong = [
            f"{name} is {_form(tensors[name])} instead of {_form(expected[name])}"
            for name in expected
            if name in tensors and _form(tensors[name]) != _form(expected[name])
        ]
        named = {"missing": missing, "unknown": unknown, "wrong": wrong}
        problems = [f"{what}: {tensor_io.first_names(names)}" for what, names in named.items() if names]
        if best is None or sum(map(len, named.values())) < best[0]:
            best = sum(map(len, named.values())), config, problems, expected
    if best is None:
        raise InputError(f"weights {str(path)!r} have a config that describes no network; convert them again")
    return best[1:]


@lru_cache(maxsize=8)
def expected_tensors(config: Config) -> Tensors:
    """Names and shapes of the network of a config; on the meta device, so that it costs no memory."""
    import torch

    with torch.device("meta"):
        return network(config).state_dict()


def network(config: Config) -> nn.Module:
    """The network that a config describes, untrained."""
    if isinstance(config, DenoiserConfig):
        from anitalker.original.denoiser import Denoiser

        return Denoiser(config)
    from anitalker.original.stage_one import StageOne

    return StageOne(config)


def stage_one_config(tensors: Tensors) -> StageOneConfig:
    """Sizes from shapes; the published ones where a tensor that would tell is missing."""
    usual = StageOneConfig()
    layers = [int(match[1]) for name in tensors if (match := re.match(r"dec\.convs\.(\d{1,2})\.", name))]
    names = ["dec.conv1.conv.weight", *(f"dec.convs.{n}.conv.weight" for n in range(0, max(layers, default=0) + 1, 2))]
    widths = tuple(tensors[name].shape[1] if name in tensors else usual.channels[0] for name in names)
    style = tensors["enc.fc.0.weight"].shape[1] if "enc.fc.0.weight" in tensors else usual.style
    motion = tensors["enc.fc.4.bias"].shape[0] if "enc.fc.4.bias" in tensors else usual.motion
    return StageOneConfig(2 ** (len(widths) + 1), style, motion, widths)


def denoiser_config(variant: str, tensors: Tensors) -> DenoiserConfig:
    """Sizes from shapes: (tensor, axis) per field, and the number of layers."""
    decoder = "coarse_decoder.encoders.0"
    where = {
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
        where |= {"hubert": ("down_sample1.weight", 1), "hubert_layers": ("weights", 0), "speech_hidden": (speech, 0)}
    else:
        where |= {"mfcc": ("down_sample1.weight", 1), "mfcc_hidden": ("down_sample1.weight", 0)}
    sizes = {field: tensors[name].shape[axis] for field, (name, axis) in where.items() if name in tensors}
    for field, stack in (("decoder_layers", "coarse_decoder"), ("speech_layers", "speech_encoder")):
        layers = {match[1] for name in tensors if (match := re.match(rf"{stack}\.encoders\.(\d+)\.", name))}
        sizes |= {field: len(layers)} if layers else {}
    assert set(sizes) <= {field.name for field in fields(DenoiserConfig)}
    return DenoiserConfig(variant, **sizes)


def _variant(path: Path, tensors: Tensors) -> str:
    """Which of the five: by what it hears, and by the control signals it has networks for."""
    heads = {name.split(".")[0] for name in tensors}
    hears = "hubert" if heads & {"weights", "speech_encoder"} else "mfcc"
    signals = ("pose",) if heads & {"pose_predictor", "pose_encoder"} else ()
    if any(head.startswith(("location_", "face_scale_")) for head in heads):
        signals = ("location", "scale", "pose")
    for variant, what in VARIANTS.items():
        if what == (hears, signals):
            return variant
    raise InputError(f"weights {str(path)!r} are none of {', '.join(VARIANTS)}; they hear {hears} and obey no pose")


def _stored(path: Path, values: object, type_: type):
    """The config that a converted file carries, made when it is called."""
    tensor_io.check_sizes(path, values)
    try:
        config = from_dict(type_, values)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"weights {str(path)!r}: their config is wrong ({error}); convert them again") from None
    return lambda: config


def _plain(name: str) -> str:
    """A name of stage one without the wrapper that trained it."""
    return name.replace("lia.", "")


def _form(tensor: Tensor) -> str:
    return f"{list(tensor.shape)}" + ("" if tensor.is_floating_point() else f" of {str(tensor.dtype)[6:]}")


def _seen(tensors: Tensors) -> str:
    return f"allowed are enc.*, dec.* or {LIVE}*, this has {tensor_io.first_names(list(tensors), 2)}"
