"""A motion generator that begins at another one's weights, though it hears more features of speech."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from anitalker.config import InputError
from anitalker.models.loading import read
from anitalker.motion.generator import MotionGenerator
from anitalker.network_config import GeneratorConfig, PhoneticConfig, SpeechConfig, from_dict, to_dict
from encoders.phonetic import PhoneticEncoder
from scripts.training.loop import weights_of

SPEECH_INPUTS = ("speech.into.weight", "lips.into.0.weight")  # [width,S]: the layers that hear the features


def begin_at(source: str, speech_size: int, lips_width: int = 0, new_lips: bool = False) -> MotionGenerator:
    """The generator of a run or a file of weights, with its normalisation, for speech features of `speech_size`.

    Features that it did not hear come last, with weights of zero. lips_width: of a lip regressor, which begins anew
    unless the source has one as wide; 0: none that the source lacks; new_lips: it begins anew in any case. InputError
    where it heard more than that.
    """
    config, tensors = read(weights_of(source))
    known = from_dict(GeneratorConfig, config["generator"])
    if known.speech_size > speech_size:
        raise InputError(
            f"{source} hears {known.speech_size} speech features; {speech_size} are given; name its --phonetic"
        )
    network = MotionGenerator(replace(known, speech_size=speech_size, lips_width=lips_width or known.lips_width))
    state = {name.removeprefix("generator."): x for name, x in tensors.items() if name.startswith("generator.")}
    state = {name: widened(x, speech_size) if name in SPEECH_INPUTS else x for name, x in state.items()}
    fresh = network.state_dict()
    fits = not new_lips and known.lips_width and known.lips_width == network.config.lips_width
    kept = {name: x for name, x in state.items() if fits or not name.startswith("lips.")}
    network.load_state_dict({name: x for name, x in fresh.items() if name.startswith("lips.") and not fits} | kept)
    return network


def widened(weight: Tensor, size: int) -> Tensor:
    """[W,S] -> [W,size], zeros behind."""
    return torch.cat([weight, weight.new_zeros(len(weight), size - weight.shape[1])], 1)


def phonetic_of(source: str) -> PhoneticEncoder | None:
    """The phonetic encoder of a run or a file of weights, frozen; None where it has none."""
    config, tensors = read(weights_of(source))
    if "phonetic" not in config:
        return None
    encoder = PhoneticEncoder(**vars(from_dict(PhoneticConfig, config["phonetic"])))
    encoder.load_state_dict({k.removeprefix("phonetic."): x for k, x in tensors.items() if k.startswith("phonetic.")})
    return encoder.eval().requires_grad_(False)


def parts_of(network: MotionGenerator, phonetic: PhoneticEncoder | None) -> tuple[dict[str, nn.Module], dict]:
    """Modules and configs that a run keeps: the generator and the encoder that it hears, so that they stay together."""
    modules: dict[str, nn.Module] = {"generator": network}
    configs = {"generator": to_dict(network.config), "speech": to_dict(SpeechConfig())}
    if phonetic is not None:
        modules["phonetic"] = phonetic
        configs["phonetic"] = phonetic.sizes
    return modules, configs
