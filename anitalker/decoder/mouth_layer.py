"""The mouth of a portrait's frames: prepared once, drawn frame by frame, laid over frames of any size.

Letters: B frames, K references, N = 468 landmarks, M = 20 motion, P = PATCH pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anitalker.config import CROP
from anitalker.decoder.mouth import MouthSynthesizer, References
from anitalker.decoder.mouth_patch import cut_patch, invert, place_patch, warp_patch
from anitalker.decoder.viewport import Viewport, neighbours
from anitalker.faces.landmarks import LIPS
from anitalker.faces.paste import feather
from anitalker.runtime.arrays import on_host
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

    def over(self, frames: Tensor, picture: Tensor, viewport: Viewport | None = None, faded: bool = False) -> Tensor:
        """Crop regions [B,3,h,w] in [-1,1] with the mouths laid over them; changes its argument.

        picture [1 or B,3,H,W], of any resolution: the portrait's region, whose finest detail the mouth keeps where it
        is warped. viewport: the part of the region that both show; None: all of it. faded: the mouths fade to
        the crop's border.
        """
        viewport = viewport or Viewport.whole(frames.shape[-2], frames.shape[-1])
        rows, columns = self.window(viewport)
        places = self.places(rows, columns, viewport)
        grid, sources = (torch.stack([torch.as_tensor(axis) for axis in place], -1) for place in places)
        picture = picture.expand(len(frames), -1, -1, -1)
        change = F.grid_sample(self.change, grid, padding_mode="zeros", align_corners=False)
        warped = F.grid_sample(picture, sources.to(picture), padding_mode="border", align_corners=False)
        alpha = change[:, 3:]
        if faded:
            alpha = alpha * torch.from_numpy(edge_weights(rows, columns, viewport)).to(alpha)
        window = frames[..., rows, columns]
        window.lerp_((warped + change[:, :3]).clamp(-1, 1), alpha)
        return frames

    def window(self, viewport: Viewport) -> tuple[slice, slice]:
        """Rows and columns of the viewport that any of the patches covers."""
        (top, _, height), (left, _, width) = viewport.spans
        spans = self._span(1, top, viewport.height, height), self._span(0, left, viewport.width, width)
        return slice(*spans[0]), slice(*spans[1])

    def places(self, rows: slice, columns: slice, viewport: Viewport) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Where the viewport's pixels in rows and columns lie in the patches, and where the portrait's flow takes them
        in the viewport: x and y [B,h,w] of both, in -1..1; arrays as `on_host` gives them."""
        flow = self.flow
        # Across first, while there are few rows.
        for axis, span, (first, _, total) in zip((3, 2), (columns, rows), viewport.spans[::-1], strict=True):
            nearest = neighbours(flow.shape[axis], first + span.start, span.stop - span.start, total, flow.device)
            below, above, weight = nearest
            weight = weight[:, None] if axis == 2 else weight
            flow = flow.index_select(axis, below).lerp_(flow.index_select(axis, above), weight)
        flow, placement = on_host(flow, self.placement)
        matrix, centre = invert(placement[..., :2]), placement[..., 2]
        offsets, shown = [], []
        for k, (span, (first, length, total)) in enumerate(zip((columns, rows), viewport.spans[::-1], strict=True)):
            pixels = np.arange(span.start, span.stop, dtype=np.float32) + np.float32(0.5)
            if isinstance(flow, Tensor):
                pixels = torch.from_numpy(pixels).to(flow.device)
            offsets.append((pixels + first) / total - centre[:, k, None])
            across = pixels * (2 / length) - 1
            shown.append(flow[:, k] * (2 * total / length) + (across[:, None] if k else across))
        dx, dy = offsets  # [B,w], [B,h]
        u, v = ((matrix[:, k, :1] * dx)[:, None] + (matrix[:, k, 1:] * dy)[..., None] for k in (0, 1))
        return (u, v), (shown[0], shown[1])

    def _span(self, axis: int, start: int, length: int, total: int) -> tuple[int, int]:
        """First and last but one pixel of the viewport along x (0) or y (1) that any of the patches covers."""
        placement = self.placement.detach().cpu().numpy()[:, axis]
        reach, centre = np.abs(placement[:, :2]).sum(-1), placement[:, 2]
        low, high = float((centre - reach).min()), float((centre + reach).max())
        first = min(max(int(low * total) - start, 0), length - 1)
        return first, max(min(int(high * total) + 1 - start, length), first + 1)


def edge_weights(rows: slice, columns: slice, viewport: Viewport) -> np.ndarray:
    """How much of a frame is shown over its portrait: 1, and less at the crop's border; float32 [h,w]."""
    down, across = (
        feather(total)[first + span.start : first + span.stop]
        for span, (first, _, total) in zip((rows, columns), viewport.spans, strict=True)
    )
    return down[:, None] * across


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
