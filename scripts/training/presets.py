"""Named recipes of stage one: every weight and size in one place, frozen, on the command line by the same names.

`lite-256` is our own family, trained in two stages: `codes` (encoder and heads read codes from pixels, labels are
landmarks), then `decoder`. `full-256` is the original's architecture, one stage from pixels. `ablation-*` are small
trainings of the same, each without one thing, for `scripts.ablate`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from anitalker.config import CROP, InputError
from anitalker.network_config import DecoderConfig, MotionSpaceConfig, StageOneConfig, to_dict
from encoders.image import ENCODERS
from scripts.training.recipe import Recipe, setting

METRICS = ("aam", "triplet", "none")
HEADS = ("", "v1", "v2", "v2p", "branches")  # of an HRNet; none: v2p


@dataclass(frozen=True, kw_only=True)
class StageOneRecipe(Recipe):
    """What every stage has."""

    stage: ClassVar[str]

    stills: float = setting(0.3, "share of pairs that are animated stills")
    metric: str = setting("aam", "metric learning on the identity code", METRICS)
    identity: float = setting(0.0, "weight of metric learning")
    mutual: float = setting(0.0, "weight of the bound of mutual information between identity and motion code (CLUB)")
    hal: bool = setting(True, "aggregate all stages of the pyramid; without: the last stage alone")


@dataclass(frozen=True, kw_only=True)
class Lite(StageOneRecipe):
    """What both stages of `lite` have."""

    encoder: str = setting("lia", "image encoder of the motion space", ENCODERS)
    head: str = setting("", "of an HRNet: what of its branches is handed on; v2p unless given", HEADS)


@dataclass(frozen=True, kw_only=True)
class Codes(Lite):
    """Stage `codes` of `lite`: what teaches the encoder to read motion and identity from pixels."""

    stage: ClassVar[str] = "codes"

    aligned: float = setting(0.65, "share of pairs seen upright and large, as the second look sees them")
    absolute: float = setting(1.0, "weight: the label's neutral under the predicted code")
    relative: float = setting(1.0, "weight: one frame's landmarks driven to the other's")
    neutral: float = setting(0.5, "weight: the inferred neutral has shut lips")
    code: float = setting(3.0, "weight: the codes themselves")
    place: float = setting(1.0, "weight: landmarks by a linear layer from HAL's code")


@dataclass(frozen=True, kw_only=True)
class Pictures(StageOneRecipe):
    """What both stages that make pictures have."""

    photometric: float = setting(1.0, "weight of the L1")
    scales: int = setting(1, "sizes at which the L1 is taken")
    perceptual: float = setting(0.3, "weight of the feature distance")
    adversarial: float = setting(0.0, "weight of the adversarial term, a share of the reconstruction's gradient")
    adversarial_after: int = setting(500, "steps before it sets in")
    flow: float = setting(0.0, "weight of landmark-flow supervision")
    half_life: float = setting(5000.0, "steps in which that weight halves")
    jitter: float = setting(0.0, "strength of colour changes, the same for both pictures of a pair")


@dataclass(frozen=True, kw_only=True)
class Decoder(Pictures, Lite):
    """Stage `decoder` of `lite`: residual flow, masks, synthesised pixels; the encoder is refined through it."""

    stage: ClassVar[str] = "decoder"

    channels: str = setting("24,48,96,128", "widths of the U-Net, widest places first")
    block: int = setting(2, "pixels along a side of one of its places: 1, 2 or 4", (1, 2, 4))
    grid: int = setting(64, "points along a side at which the landmark flow is evaluated, before it is interpolated")
    flow_smoothness: float = setting(0.2, "weight: second differences of the flow")
    synthesis_area: float = setting(0.03, "weight: synthesis where no lips or eyes are")
    synthesis_l1: float = setting(0.3, "weight: L1 of the synthesised pixels by themselves")
    landmark: float = setting(0.1, "weight: landmarks driven by the codes")
    code: float = setting(0.05, "weight: the codes themselves")
    mouth: float = setting(0.0, "share of the picture terms in lips and mouth; 0: the mouth synthesiser draws them")


@dataclass(frozen=True, kw_only=True)
class Pixels(Pictures):
    """The one stage of the original's architecture: everything from pixels, flow shown by landmarks at first."""

    stage: ClassVar[str] = "pixels"

    cross: float = setting(0.0, "weight of the motion and identity read from a frame that another pair drives")
    cross_after: int = setting(20_000, "steps before that sets in")
    size: int = setting(256, "pixels of a picture's side: 32, 64, 128, 256")
    width: float = setting(1.0, "channels as a share of the original's")

    def config(self) -> StageOneConfig:
        """The network's sizes: the original's channels from the picture's size down, times `width`."""
        channels = StageOneConfig().channels
        if not 8 <= self.size <= 256 or self.size & (self.size - 1):
            raise InputError(f"size is {self.size}; allowed are 8, 16, 32, 64, 128, 256")
        count = self.size.bit_length() - 2  # resolutions from 4 up
        style = max(32, round(StageOneConfig.style * self.width))
        return StageOneConfig(self.size, style, channels=tuple(max(8, round(c * self.width)) for c in channels[:count]))


PICTURES = {"batch": 8, "stills": 0.25, "clip": 2.0}
FULL = PICTURES | {"steps": 400_000, "batch": 16, "lr": 5e-4, "decay": 0.999, "score": 5000, "jitter": 0.2}
FULL |= {"scales": 3, "perceptual": 1.0, "adversarial": 0.3, "adversarial_after": 50_000, "flow": 0.05}
FULL |= {"half_life": 30_000.0, "identity": 0.05, "mutual": 0.01, "cross": 0.05}
# 64 pixels, an eighth of the width, short; the arms of the ablation differ in one thing each.
SMALL = FULL | {"size": 64, "width": 0.125, "steps": 6000, "adversarial": 0.0, "perceptual": 0.0, "cross": 0.0}
SMALL |= {"lr": 2e-3, "half_life": 2000.0, "identity": 0.1, "score": 100_000, "decay": 0.99, "flow": 0.1}
ARMS = {
    "all": {},
    "no-hal": {"hal": False},
    "no-metric": {"metric": "none"},
    "no-mutual": {"mutual": 0.0},
    "triplet": {"metric": "triplet"},
    "neither": {"metric": "none", "mutual": 0.0},
    "no-flow": {"flow": 0.0},
    "adversarial": {"adversarial": 0.3},
    "autoencode": {"flow": 0.0, "metric": "none", "mutual": 0.0},
}
PRESETS: dict[str, tuple[StageOneRecipe, ...]] = {
    "lite-256": (Codes(identity=0.1, mutual=0.01), Decoder(**PICTURES)),
    "full-256": (Pixels(**FULL),),
    **{f"ablation-{arm}": (Pixels(**(SMALL | changes)),) for arm, changes in ARMS.items()},
}
KINDS = {kind.stage: kind for kind in (Codes, Decoder, Pixels)}
STAGES = tuple(KINDS)
# The fields of all stages, for the command line.
SETTINGS = {known.name: known for kind in KINDS.values() for known in fields(kind)}
OLD_NAMES = {"rough": "flow_smoothness", "invented": "synthesis_area", "drawn": "synthesis_l1"}


def weighted(recipe: StageOneRecipe, losses: dict[str, Tensor]) -> Tensor:
    """The sum of losses, each times the recipe's weight of the same name."""
    return sum(getattr(recipe, name) * loss for name, loss in losses.items())


def recipes_of(preset: str) -> tuple[StageOneRecipe, ...]:
    """A preset's recipes by its name, or from a JSON file as `describe` makes it; InputError says what is wrong."""
    if preset in PRESETS:
        return PRESETS[preset]
    if not preset.endswith(".json"):
        raise InputError(f"preset is {preset!r}; allowed are {', '.join(PRESETS)}, or a FILE.json")
    try:
        stages = json.loads(Path(preset).read_text(encoding="utf-8"))["stages"]
        return tuple(KINDS[stage](**known["recipe"]) for stage, known in stages.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        line = " ".join(str(error).split())[:120]
        raise InputError(f"preset {preset!r} cannot be read ({line}); write one by scripts.export --preset") from None


def describe(preset: str) -> dict:
    """A preset as JSON can hold it: {"preset", "stages": {stage: {"recipe", the sizes of its networks by name}}}."""
    stages = {recipe.stage: {"recipe": asdict(recipe)} | network_sizes(recipe) for recipe in recipes_of(preset)}
    return {"preset": preset, "stages": stages}


def network_sizes(recipe: StageOneRecipe) -> dict[str, dict]:
    """The configs of a recipe's networks by name."""
    if isinstance(recipe, Pixels):
        return {"stage1": to_dict(recipe.config())}
    space = motion_space_config(recipe)
    decoder = {"decoder": to_dict(decoder_config(recipe, space))} if isinstance(recipe, Decoder) else {}
    return {"motion_space": to_dict(space)} | decoder


def resolve(preset: str, stage: str | None, given: dict) -> StageOneRecipe:
    """The preset's recipe of that stage (None: its first) with the given fields; InputError names what does not fit."""
    recipes = {recipe.stage: recipe for recipe in recipes_of(preset)}
    if stage is not None and stage not in recipes:
        raise InputError(f"preset {preset} has no stage {stage!r}; it has {', '.join(recipes)}")
    recipe = recipes[stage or next(iter(recipes))]
    known = {known.name for known in fields(recipe)}
    if foreign := ["--" + name.replace("_", "-") for name in given if name not in known]:
        raise InputError(f"stage {recipe.stage} has no {', '.join(foreign)}; see --help for what each stage has")
    return replace(recipe, **given)


def motion_space_config(recipe: Codes | Decoder) -> MotionSpaceConfig:
    """Sizes of `lite`'s motion space under a recipe."""
    config = MotionSpaceConfig()
    if recipe.head and not recipe.encoder.startswith("hrnet"):
        raise InputError(f"head is {recipe.head!r}, but {recipe.encoder} has none; only HRNets have: leave --head away")
    chosen = {} if recipe.encoder == config.encoder.family else {"family": recipe.encoder, "channels": ()}
    return replace(config, encoder=replace(config.encoder, hal=recipe.hal, head=recipe.head, **chosen))


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
    return replace(
        DecoderConfig(), channels=channels, block=recipe.block, grid=recipe.grid, motion_size=space.motion_size
    )
