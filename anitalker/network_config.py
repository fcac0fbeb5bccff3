"""Sizes of the networks, as frozen dataclasses that travel with the weights; free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, TypeVar

from anitalker.config import POSE_SIZE, InputError, check_choice

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


@dataclass(frozen=True)
class EncoderConfig:
    """Image encoder: a pyramid of feature maps and the Hierarchical Aggregation Layer over all of its stages."""

    family: str = "lia"  # one of encoders.image.ENCODERS
    head: str = ""  # of an HRNet: v1, v2, v2p or branches
    # One per stage, the first at 64x64, the last at 1x1; none: the family's own.
    channels: tuple[int, ...] = (32, 64, 128, 192, 256, 256)
    code_size: int = 256  # width of the code that HAL returns
    hal: bool = True  # False: the last stage alone


@dataclass(frozen=True)
class MotionSpaceConfig:
    """Motion space: 6 numbers of pose, then coefficients of orthonormal directions of landmark displacement.

    More numbers may follow that move no landmark and are learned through the decoder alone (gaze, tongue).
    """

    encoder: EncoderConfig = EncoderConfig()
    expression_size: int = 14  # orthonormal directions; POSE_SIZE + expression_size = 20 numbers of motion
    learned_size: int = 0
    identity_size: int = 64
    hidden: int = 256

    @property
    def shown_size(self) -> int:
        """Numbers that move landmarks, and that labels give."""
        return POSE_SIZE + self.expression_size

    @property
    def motion_size(self) -> int:
        """All numbers of a motion code."""
        return self.shown_size + self.learned_size


@dataclass(frozen=True)
class DetectorConfig:
    """Face detector: space-to-depth stem, three levels, square anchors."""

    channels: tuple[int, ...] = (24, 40, 72, 96)  # at strides 4, 8, 16 and 32
    pyramid: int = 48
    anchors: tuple[tuple[float, ...], ...] = ((16, 27), (46, 79), (135, 230))  # sides in pixels at strides 8, 16, 32
    long_side: int = 320  # pictures are scaled to this before the first search


@dataclass(frozen=True)
class LandmarkConfig:
    """Landmark regressor on a square crop: trunk, low-rank shape, refinement of lips and eyes."""

    size: int = 128
    channels: tuple[int, ...] = (48, 96, 144)  # at strides 4, 8 and 16
    blocks: int = 2
    neck: int = 32
    coefficients: int = 64
    part_size: int = 16


@dataclass(frozen=True)
class MotionPriorConfig:
    """Normalizing flow over motion codes, and a Gaussian of few directions over appearance codes."""

    motion_size: int = 20
    steps: int = 2  # autoregressive spline transforms
    layers: int = 1
    hidden: int = 48
    bins: int = 6
    code_size: int = 256
    directions: int = 48
    space: str = ""  # `motion_prior.space_hash` of the motion space whose codes it knows


@dataclass(frozen=True)
class DecoderConfig:
    """Landmark flow, then a U-Net at a part of the resolution: residual flow, three layer masks, synthesised pixels."""

    channels: tuple[int, ...] = (24, 48, 96, 128)  # at 128, 64, 32 and 16 pixels
    block: int = 2  # pixels along a side of one place of the U-Net: 2 is 128x128 places
    code_size: int = 256  # appearance code that modulates the bottleneck
    motion_size: int = 20
    grid: int = 96  # the radial basis interpolation of the flow is evaluated on grid x grid points
    smoothing: float = 1e-3
    max_residual: float = 0.06  # crop widths


@dataclass(frozen=True)
class MouthConfig:
    """Mouth synthesiser: a U-Net over a patch about the lips, and references of the same person."""

    channels: tuple[int, int, int] = (48, 80, 128)  # at 32, 16 and 8 places along a side
    values: int = 24  # what a place takes from a reference beside its pixels
    keys: int = 16  # by which places are compared
    motion_size: int = 20


@dataclass(frozen=True)
class MatteConfig:
    """Portrait matte: the encoder of SqueezeNet 1.0, and a decoder with skips at strides 2, 4 and 8."""

    size: int = 256  # pixels of the longer side of the picture as the network sees it, a multiple of 16
    channels: tuple[int, int, int, int] = (16, 48, 64, 96)  # of the decoder at strides 2, 4, 8 and 16


@dataclass(frozen=True)
class IrisConfig:
    """Iris locator: convolutions over an eye patch, each of which halves it, then two linear layers."""

    channels: tuple[int, ...] = (16, 32, 48)
    hidden: int = 64


@dataclass(frozen=True)
class SpeechConfig:
    """Speech features at the video frame rate, without pretrained weights."""

    n_mels: int = 80
    per_frame: int = 4  # mel frames (100 Hz) stacked per video frame (25 Hz)
    n_fft: int = 1024
    pitch: bool = True  # voicing and log fundamental frequency


@dataclass(frozen=True)
class PhoneticConfig:
    """Phonetic encoder: causal convolutions over log-mel, phones and visemes at 50 Hz (encoders/phonetic.py)."""

    n_mels: int = 80
    width: int = 256
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)  # a block each
    activations: int = 128  # of the layer before the tokens
    delay: int = 3  # phone frames (20 ms) of look-ahead
    dropout: float = 0.1  # in training


@dataclass(frozen=True)
class GeneratorConfig:
    """Motion transformer: speech, first motion and previous frames in, a flow-matching velocity out."""

    speech_size: int = 323
    motion_size: int = 20
    width: int = 192
    layers: int = 4
    heads: int = 4
    speech_layers: int = 3  # convolutions over neighbouring frames of speech
    lips_width: int = 0  # of the regression from speech alone to lips; 0: none
    dropout: float = 0.1  # in training
    window: int = 125  # frames made at once (5 s)
    previous: int = 25  # frames already made that condition the next window
    lookahead: int = 12  # frames at a window's end that are made again with more speech ahead, where there is more
    motion_mean: tuple[float, ...] = ()  # normalisation of the motion code, measured on the training clips
    motion_std: tuple[float, ...] = ()
    blink: tuple[tuple[float, ...], ...] = ()  # course of one blink [frames,20], measured; empty: none are added
    blink_every: float = 4.0  # seconds, on average


# The original's five motion generators: their speech features, and their control signals in the order of the network.
VARIANTS = {
    "hubert_audio_only": ("hubert", ()),
    "hubert_pose_only": ("hubert", ("pose",)),
    "hubert_full_control": ("hubert", ("location", "scale", "pose")),
    "mfcc_pose_only": ("mfcc", ("pose",)),
    "mfcc_full_control": ("mfcc", ("location", "scale", "pose")),
}


@dataclass(frozen=True)
class DenoiserConfig:
    """The original's motion generator: conformers over speech, control signals, noisy motion and time."""

    variant: str = "hubert_full_control"  # key of VARIANTS
    motion: int = 20
    start: int = 512  # the portrait's appearance code
    hubert: int = 1024  # width of HuBERT's hidden states
    hubert_layers: int = 25  # the embedding and 24 layers
    mfcc: int = 39
    mfcc_hidden: int = 256  # between the two convolutions over cepstra
    width: int = 512  # speech as the conformer sees it
    speech_layers: int = 4  # HuBERT only
    speech_hidden: int = 512  # feed-forward
    decoder_layers: int = 2
    decoder_hidden: int = 1024
    side: int = 128  # each of the portrait's motion and appearance, the noisy motion and time
    control: int = 128  # LSTMs of the control signals
    heads: int = 2
    kernel: int = 13  # depthwise convolution [frames]

    def __post_init__(self) -> None:
        check_choice("variant", self.variant, tuple(VARIANTS))

    @property
    def hears(self) -> str:
        """Its speech features: hubert or mfcc."""
        return VARIANTS[self.variant][0]

    @property
    def signals(self) -> tuple[str, ...]:
        """Control signals of the variant, in the order of its network."""
        return VARIANTS[self.variant][1]

    @property
    def sound_rate(self) -> int:
        """Speech features per video frame."""
        return 2 if self.hears == "hubert" else 4


@dataclass(frozen=True)
class StageOneConfig:
    """The original's encoder and decoder. channels: one width per resolution, 4, 8, 16 ... size pixels."""

    size: int = 256  # pixels of a picture's side
    style: int = 512  # width of the image code and of the latent that styles every layer
    motion: int = 20  # directions
    channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64)

    def __post_init__(self) -> None:
        if self.size != 2 ** (len(self.channels) + 1):
            raise ValueError(f"size is {self.size}, but {len(self.channels)} channels belong to resolutions from 4 up")


def to_dict(config: DataclassInstance) -> dict:
    """Convert a config dataclass to plain JSON types."""
    return asdict(config)


def from_dict(kind: type[Config], values: dict) -> Config:
    """Make a config dataclass from the result of `to_dict`; lists become tuples. InputError for unknown names."""
    known = {option.name for option in fields(kind)}
    if unknown := set(values) - known:
        raise InputError(f"{kind.__name__} got unknown {sorted(unknown)}; it knows {sorted(known)}")
    nested = {"encoder": EncoderConfig}
    return kind(**{k: from_dict(nested[k], v) if k in nested else _tuples(v) for k, v in values.items()})


def _tuples(value: object) -> object:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
