"""Irises out of their places: how what a portrait shows between its lids moves with them.

Letters: B frames, E = 2 eyes, h x w pixels. Places are in `a` and `b` of an eye (see `eyelids`), in eye widths.

An iris moves as it is, like a disc; the white around it gives way, the farther from it the less, up to the corners. The
lids lie above both: what they hid in the portrait and do not hide now is taken from the rim of what they showed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, cat

from anitalker.runtime.arrays import library, on_host
from anitalker.runtime.smoothstep import smoothstep

MAX_SHIFT = (0.17, 0.14)  # eye widths that an iris moves at most from its place in the portrait, along a and b
RIGID = 1.12  # iris radii that move as they are: the iris with its dark rim
MIN_SLACK, SLACK_PER_SHIFT = 0.15, 2.5  # eye widths beyond over which the motion fades; more for a long way
WIDE_LIDS = 0.25  # of `a` from the corners, up to where gaze opens or shuts a lid wholly


@dataclass(frozen=True)
class Irises:
    """Irises of B frames. centre [B,E,2] and radius [B,E]: in the portrait, in a and b of its eyes; place [B,E,2]: in
    the frame, in a and b of its eyes; share [B]: of the way there; widening [B,E]: by how much gaze opens the lids, in
    eye widths. Tensors or numpy arrays."""

    centre: Any
    radius: Any
    place: Any
    share: Any
    widening: Any

    def __getitem__(self, frames: slice) -> Irises:
        """Those of some of the frames."""
        return Irises(*(value[frames] for value in self.values))

    @property
    def values(self) -> tuple[Any, ...]:
        """All fields in their order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def on_host(self) -> Irises:
        """With arrays as `runtime.arrays.on_host` gives them."""
        return Irises(*on_host(*self.values))

    @staticmethod
    def join(irises: list[Irises]) -> Irises:
        """Those of consecutive frames as one."""
        return Irises(*(cat(list(values)) for values in zip(*(part.values for part in irises), strict=True)))


@dataclass(frozen=True)
class Look:
    """irises of B frames; eyes [B,1,n,n]: where they are seen to have moved, 0 to 1, on the decoder's grid."""

    irises: Irises
    eyes: Tensor

    def __getitem__(self, frames: slice) -> Look:
        """Those of some of the frames."""
        return Look(self.irises[frames], self.eyes[frames])

    @staticmethod
    def join(looks: list[Look]) -> Look:
        """Those of consecutive frames as one."""
        return Look(Irises.join([look.irises for look in looks]), cat([look.eyes for look in looks]))


def bounded(shift: Any, most: float) -> Any:
    """A shift as it is while it is small, and never beyond `most`; of any shape."""
    return shift / (1 + (shift / most) ** 4) ** 0.25


def widened(irises: Irises, a: Any) -> Any:
    """By how much gaze opens the lids at a [B,E,h,w], in eye widths."""
    share = smoothstep(library(a).minimum(a, 1 - a), 0, WIDE_LIDS)
    return irises.widening[..., None, None] * share


def slide(irises: Irises, iris_b: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """How far back the portrait's places of the eye lie: changes of its a and b [B,E,h,w] from where they would be
    without gaze. iris_b [B,E]: the portrait's b at the iris' place in the frame, likewise."""
    xp = library(a)
    share = irises.share[:, None]
    shift_a = bounded(irises.place[..., 0] - irises.centre[..., 0], MAX_SHIFT[0]) * share  # [B,E]
    shift_b = bounded(iris_b - irises.centre[..., 1], MAX_SHIFT[1]) * share
    length = (shift_a * shift_a + shift_b * shift_b) ** 0.5
    slack = xp.maximum(SLACK_PER_SHIFT * length, xp.full_like(length, MIN_SLACK))[..., None, None]
    dx = a - (irises.centre[..., 0] + shift_a)[..., None, None]
    dy = b - (irises.centre[..., 1] + shift_b)[..., None, None]
    beyond = (dx * dx + dy * dy) ** 0.5 - RIGID * irises.radius[..., None, None]
    weight = 1 - smoothstep(beyond / slack)
    return -shift_a[..., None, None] * weight, -shift_b[..., None, None] * weight
