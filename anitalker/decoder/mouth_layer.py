"""The mouth of a portrait's frames: prepared once, drawn frame by frame, laid over frames of any size.

Letters: B frames, K references, N = 468 landmarks, M = 20 motion, P = PATCH pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import CROP
from anitalker.decoder.mouth import MouthSynthesizer, References
from anitalker.decoder.mouth_patch import cut_patch, invert, place_patch, sample, warp_patch
from anitalker.decoder.viewport import Viewport
from anitalker.faces.landmarks import LIPS
from anitalker.runtime.bfloat16 import converts, in_bfloat16
from anitalker.runtime.smoothstep import smoothstep

MOVED_PIXELS = (0.2, 0.7)  # of 256, that any point of the lips has moved: below, the portrait's own mouth stays


@dataclass(frozen=True)
class PreparedMouth:
    """picture [1,3,256,256] in [-1,1]: the crop that is warped; landmarks [1,N,3]; references of one person."""

    picture: Tensor
    landmarks: Tensor
    references: References


@dataclass(frozen=True)
class MouthLayer:
    """change [B,4,P,P]: RGB less that of the warped portrait, and alpha; placement [B,2,3]: where the patch lies in the
    crop; flow [B,2,g,g] in crop widths: that of the landmarks, by which the portrait is warped at any resolution."""

    change: Tensor
    placement: Tensor
    flow: Tensor

    def __getitem__(self, frames: slice) -> MouthLayer:
        """The mouths of some of the frames."""
        return MouthLayer(self.change[frames], self.placement[frames], self.flow[frames])

    def over(self, frames: Tensor, picture: Tensor, viewport: Viewport | None = None) -> Tensor:
        """Crop regions [B,3,h,w] in [-1,1] with the mouths laid over them; changes its argument.

        picture [1 or B,3,h,w]: the portrait's region, whose finest detail the mouth keeps where it is warped. viewport:
        the part of the region that both show; None: all of it.
        """
        viewport = viewport or Viewport.whole(frames.shape[-2], frames.shape[-1])
        (top, _, height), (left, _, width) = viewport.spans
        rows, columns = self._span(1, *viewport.spans[0]), self._span(0, *viewport.spans[1])
        y = (torch.arange(*rows, device=frames.device) + top + 0.5) / height
        x = (torch.arange(*columns, device=frames.device) + left + 0.5) / width
        points = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]  # crop widths
        grid = (points - self.placement[:, None, None, :, 2]) @ invert(self.placement[..., :2]).mT[:, None]
        change = F.grid_sample(self.change, grid, padding_mode="zeros", align_corners=False)
        points = points.expand(len(frames), -1, -1, -1)
        sources = viewport.coordinates(points + sample(self.flow, points).permute(0, 2, 3, 1))
        warped = sample(picture.expand(len(frames), -1, -1, -1), sources)
        window = frames[..., slice(*rows), slice(*columns)]
        window.lerp_((warped + change[:, :3]).clamp(-1, 1), change[:, 3:])
        return frames

    def _span(self, axis: int, start: int, length: int, total: int) -> tuple[int, int]:
        """First and last but one pixel of the viewport along x (0) or y (1) that any of the patches covers."""
        reach = self.placement[:, axis, :2].abs().sum(-1)
        centre = self.placement[:, axis, 2]
        low, high = float((centre - reach).min()), float((centre + reach).max())
        first = min(max(int(low * total) - start, 0), length - 1)
        return first, max(min(int(high * total) + 1 - start, length), first + 1)


def join(layers: Sequence[MouthLayer | None]) -> MouthLayer | None:
    """The mouths of consecutive frames as one; None where there are none."""
    known = [layer for layer in layers if layer is not None]
    if not known:
        return None
    change, placement, flow = (
        torch.cat([getattr(layer, name) for layer in known]) for name in ("change", "placement", "flow")
    )
    return MouthLayer(change, placement, flow)


def prepare_mouth(network: MouthSynthesizer, picture: Tensor, landmarks: Tensor, motion: Tensor) -> PreparedMouth:
    """A crop [1,3,256,256] in [-1,1], its landmarks [1,N,3] in crop widths and motion [1,M] -> its own reference."""
    return PreparedMouth(picture, landmarks, encode_references(network, picture, landmarks, motion))


def encode_references(network: MouthSynthesizer, pictures: Tensor, landmarks: Tensor, motion: Tensor) -> References:
    """Crops [K,3,256,256] in [-1,1] of one person, their landmarks [K,N,3] and motion [K,M] -> references."""
    patches = cut_patch(pictures, place_patch(landmarks))
    return network.encode(patches[None], landmarks[None], motion[None])


def draw_mouth(
    network: MouthSynthesizer, prepared: PreparedMouth, landmarks: Tensor, motion: Tensor, flow: Tensor
) -> MouthLayer:
    """The mouths of B frames that show landmarks [B,N,3] and motion [B,M]; flow [B,2,g,g]: that of the landmarks."""
    placement = place_patch(landmarks)
    warped = warp_patch(prepared.picture.expand(len(landmarks), -1, -1, -1), flow, placement)
    network = in_bfloat16(network) if converts(warped) else network
    patch = network(warped, landmarks, motion, prepared.references).float()
    lips = list(LIPS)
    moved = CROP * (landmarks[:, lips, :2] - prepared.landmarks[:, lips, :2]).norm(dim=-1).amax(-1)
    gate = smoothstep(moved, *MOVED_PIXELS)[:, None, None, None]
    return MouthLayer(torch.cat([patch[:, :3] - warped, gate * patch[:, 3:]], 1), placement, flow)
