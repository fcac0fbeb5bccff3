"""Named recipes of stage one: every weight and size in one place, frozen, on the command line by the same names.

`lite-256` is our own family, trained in two stages: `codes` (encoder and heads read codes from pixels, labels are
landmarks), then `decoder`. `full-256` is the original's architecture, one stage from pixels. `ablation-*` are small
trainings of the same, each without one thing, for `scripts.ablate`.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar

from anitalker.config import CROP, DecoderConfig, InputError, MotionSpaceConfig, StageOneConfig, to_dict
from encoders.image import ENCODERS

METRICS = ("aam", "triplet", "none")
HEADS = ("", "v1", "v2", "v2p", "branches")  # of an HRNet; none: v2p


def _is(default, words: str, choices: tuple | None = None):
    """A field with its default and what it means."""
    return field(default=default, metadata={"help": words, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every stage has."""

    stage: ClassVar[str]

    steps: int = _is(5000, "steps, exactly")
    batch: int = _is(24, "pairs at once in one process")
    accumulate: int = _is(1, "batches whose gradients make one step")
    lr: float = _is(1e-3, "highest learning rate; falls along a cosine")
    warm: int = _is(200, "steps until it is reached")
    clip: float = _is(5.0, "longest gradient")
    decay: float = _is(0.997, "of the running mean of the weights (EMA), which is what is exported")
    stills: float = _is(0.3, "share of pairs that are animated stills")
    metric: str = _is("aam", "metric learning on the identity code", METRICS)
    margin: float = _is(-1.0, "its margin; below 0: 0.2 radians for aam, 0.3 for triplet")
    identity: float = _is(0.0, "weight of metric learning")
    mutual: float = _is(0.0, "weight of the bound of mutual information between identity and motion code (CLUB)")
    hal: bool = _is(True, "aggregate all stages of the pyramid; without: the last stage alone")
    score: int = _is(500, "steps between scores on val")
    save_every: float = _is(120.0, "seconds between checkpoints")
    log_every: int = _is(25, "steps between lines of progress")


@dataclass(frozen=True, kw_only=True)
class Codes(Recipe):
    """Stage `codes` of `lite`: what teaches the encoder to read motion and identity from pixels."""

    stage: ClassVar[str] = "codes"

    encoder: str = _is("lia", "image encoder of the motion space", ENCODERS)
    head: str = _is("", "of an HRNet: what of its branches is handed on; v2p unless given", HEADS)
    aligned: float = _is(0.65, "share of pairs seen upright and large, as the second look sees them")
    absolute: float = _is(1.0, "weight: the label's neutral under the predicted code")
    relative: float = _is(1.0, "weight: one frame's landmarks driven to the other's")
    neutral: float = _is(0.5, "weight: the inferred neutral has shut lips")
    code: float = _is(3.0, "weight: the codes themselves")
    place: float = _is(1.0, "weight: landmarks by a linear layer from HAL's code")
    identity: float = _is(0.1, "weight of metric learning")
    mutual: float = _is(0.01, "weight of the bound of mutual information between identity and motion code (CLUB)")


@dataclass(frozen=True, kw_only=True)
class Pictures(Recipe):
    """What both stages that make pictures have."""

    photometric: float = _is(1.0, "weight of the L1")
    scales: int = _is(1, "sizes at which the L1 is taken")
    perceptual: float = _is(0.3, "weight of the feature distance")
    adversarial: float = _is(0.0, "weight of the adversarial term, a share of the reconstruction's gradient; 0: none")
    adversarial_after: int = _is(500, "steps before it sets in")
    flow: float = _is(0.0, "weight of landmark-flow supervision")
    half_life: float = _is(5000.0, "steps in which that weight halves")
    jitter: float = _is(0.0, "strength of colour changes, the same for both pictures of a pair")
    clip: float = _is(2.0, "longest gradient")


@dataclass(frozen=True, kw_only=True)
class Decoder(Pictures):
    """Stage `decoder` of `lite`: residual flow, masks, synthesised pixels; the encoder is refined through it."""

    stage: ClassVar[str] = "decoder"

    encoder: str = _is("lia", "image encoder of the motion space", ENCODERS)
    head: str = _is("", "of an HRNet: what of its branches is handed on; v2p unless given", HEADS)
    channels: str = _is("24,48,96,128", "widths of the U-Net, widest places first")
    block: int = _is(2, "pixels along a side of one of its places: 1, 2 or 4", (1, 2, 4))
    learned: int = _is(0, "numbers of motion beside the 20 that move no landmark (gaze, tongue); not with --frozen")
    batch: int = _is(8, "pairs at once in one process")
    stills: float = _is(0.25, "share of pairs that are animated stills")
    rough: float = _is(0.2, "weight: second differences of the flow")
    invented: float = _is(0.03, "weight: synthesis where no lips or eyes are")
    drawn: float = _is(0.3, "weight: L1 of the synthesised pixels by themselves")
    landmark: float = _is(0.1, "weight: landmarks driven by the codes")
    code: float = _is(0.05, "weight: the codes themselves")
    taught: float = _is(1.0, "weight: layers of the decoder of --teacher")


@dataclass(frozen=True, kw_only=True)
class Pixels(Pictures):
    """The one stage of the original's architecture: everything from pixels, flow shown by landmarks at first."""

    stage: ClassVar[str] = "pixels"

    size: int = _is(256, "pixels of a picture's side: 32, 64, 128, 256")
    width: float = _is(1.0, "channels as a share of the original's")
    steps: int = _is(400_000, "steps, exactly")
    batch: int = _is(16, "pairs at once in one process")
    lr: float = _is(5e-4, "highest learning rate; falls along a cosine")
    decay: float = _is(0.999, "of the running mean of the weights (EMA), which is what is exported")
    stills: float = _is(0.25, "share of pairs that are animated stills")
    scales: int = _is(3, "sizes at which the L1 is taken")
    perceptual: float = _is(1.0, "weight of the feature distance")
    adversarial: float = _is(0.3, "weight of the adversarial term, a share of the reconstruction's gradient; 0: none")
    adversarial_after: int = _is(50_000, "steps before it sets in")
    flow: float = _is(0.05, "weight of landmark-flow supervision")
    half_life: float = _is(30_000.0, "steps in which that weight halves")
    identity: float = _is(0.05, "weight of metric learning")
    mutual: float = _is(0.01, "weight of the bound of mutual information between identity and motion code (CLUB)")
    cross: float = _is(
        0.05, "weight: drive somebody else, read the frame again: the drive's motion, the source's person"
    )
    cross_after: int = _is(20_000, "steps before that sets in")
    jitter: float = _is(0.2, "strength of colour changes, the same for both pictures of a pair")
    score: int = _is(5000, "steps between scores on val")

    def config(self) -> StageOneConfig:
        """The network's sizes: the original's channels from the picture's size down, times `width`."""
        channels = StageOneConfig().channels
        if not 8 <= self.size <= 256 or self.size & (self.size - 1):
            raise InputError(f"size is {self.size}; allowed are 8, 16, 32, 64, 128, 256")
        count = self.size.bit_length() - 2  # resolutions from 4 up
        style = max(32, round(StageOneConfig.style * self.width))
        return StageOneConfig(self.size, style, channels=tuple(max(8, round(c * self.width)) for c in channels[:count]))


def _ablation(**changes) -> tuple[Pixels]:
    """64 pixels, an eighth of the width, short; the arms differ in `changes` alone."""
    small = {"size": 64, "width": 0.125, "steps": 6000, "adversarial": 0.0, "perceptual": 0.0, "cross": 0.0}
    rates = {"lr": 2e-3, "half_life": 2000.0, "identity": 0.1, "score": 100_000, "decay": 0.99, "flow": 0.1}
    return (Pixels(**{**small, **rates, **changes}),)


PRESETS: dict[str, tuple[Recipe, ...]] = {
    "lite-256": (Codes(), Decoder()),
    "full-256": (Pixels(),),
    "ablation-all": _ablation(),
    "ablation-no-hal": _ablation(hal=False),
    "ablation-no-metric": _ablation(metric="none"),
    "ablation-no-mutual": _ablation(mutual=0.0),
    "ablation-triplet": _ablation(metric="triplet"),
    "ablation-neither": _ablation(metric="none", mutual=0.0),
    "ablation-no-flow": _ablation(flow=0.0),
    "ablation-adversarial": _ablation(adversarial=0.3),
    "ablation-autoencode": _ablation(flow=0.0, metric="none", mutual=0.0),
}
KINDS = {kind.stage: kind for kind in (Codes, Decoder, Pixels)}
STAGES = tuple(KINDS)


def settings() -> dict[str, dict]:
    """Every field of every recipe once: name -> type, help, choices, for the command line."""
    found: dict[str, dict] = {}
    for kind in KINDS.values():
        for one in fields(kind):
            default = one.default if one.default is not MISSING else None
            found.setdefault(one.name, {"type": type(default), **one.metadata})
    return found


def recipes_of(preset: str) -> tuple[Recipe, ...]:
    """A preset's recipes by its name, or from a JSON file as `describe` makes it; InputError says what is wrong."""
    if preset in PRESETS:
        return PRESETS[preset]
    if not preset.endswith(".json"):
        raise InputError(f"preset is {preset!r}; allowed are {', '.join(PRESETS)}, or a FILE.json")
    try:
        stages = json.loads(Path(preset).read_text(encoding="utf-8"))["stages"]
        return tuple(KINDS[stage](**one["recipe"]) for stage, one in stages.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        line = " ".join(str(error).split())[:120]
        raise InputError(f"preset {preset!r} cannot be read ({line}); write one by scripts.export --preset") from None


def describe(preset: str) -> dict:
    """A preset as JSON can hold it: {"preset", "stages": {stage: {"recipe", sizes of its networks by name}}}."""
    stages = {}
    for recipe in recipes_of(preset):
        if isinstance(recipe, Pixels):
            sizes = {"stage1": to_dict(recipe.config())}
        else:
            space = motion_space_config(recipe)
            sizes = {"motion_space": to_dict(space)}
            sizes |= {"decoder": to_dict(decoder_config(recipe, space))} if isinstance(recipe, Decoder) else {}
        stages[recipe.stage] = {"recipe": asdict(recipe), **sizes}
    return {"preset": preset, "stages": stages}


def resolve(preset: str, stage: str | None, given: dict) -> Recipe:
    """The preset's recipe of that stage (None: its first) with the given fields; InputError names what does not fit."""
    recipes = {recipe.stage: recipe for recipe in recipes_of(preset)}
    if stage is not None and stage not in recipes:
        raise InputError(f"preset {preset} has no stage {stage!r}; it has {', '.join(recipes)}")
    recipe = recipes[stage or next(iter(recipes))]
    known = {one.name for one in fields(recipe)}
    if foreign := [name for name in given if name not in known]:
        flags = ", ".join("--" + name.replace("_", "-") for name in foreign)
        raise InputError(f"stage {recipe.stage} has no {flags}; see --help for what each stage has")
    for name in ("steps", "batch", "accumulate", "score", "log_every", "scales"):
        if name in given and given[name] < 1:
            raise InputError(f"{name} is {given[name]}; allowed is 1 or more")
    return replace(recipe, **given)


def motion_space_config(recipe: Codes | Decoder) -> MotionSpaceConfig:
    """Sizes of `lite`'s motion space under a recipe."""
    config = MotionSpaceConfig()
    if recipe.head and not recipe.encoder.startswith("hrnet"):
        raise InputError(f"head is {recipe.head!r}, but {recipe.encoder} has none; only HRNets have: leave --head away")
    chosen = {} if recipe.encoder == config.encoder.family else {"family": recipe.encoder, "channels": ()}
    encoder = replace(config.encoder, hal=recipe.hal, head=recipe.head, **chosen)
    return replace(config, encoder=encoder, learned_size=getattr(recipe, "learned", 0))


def decoder_config(recipe: Decoder, space: MotionSpaceConfig) -> DecoderConfig:
    """Sizes of `lite`'s decoder under a recipe."""
    try:
        channels = tuple(int(width) for width in recipe.channels.split(","))
    except ValueError:
        channels = ()
    if len(channels) < 2 or any(width < 8 or width % 8 for width in channels):
        raise InputError(f"channels are {recipe.channels!r}; allowed are multiples of 8 like {Decoder.channels}")
    if CROP // recipe.block % 2 ** (len(channels) - 1):
        raise InputError(f"{len(channels)} widths are too many for {CROP // recipe.block} places; give fewer channels")
    return replace(DecoderConfig(), channels=channels, block=recipe.block, motion_size=space.motion_size)
