"""A filmed frame with other lips, or another expression: its own pixels, moved, and a mouth that is drawn.

Letters: N = 468 landmarks, M = 20 motion numbers, g = GRID places along a side of the crop, h x w pixels.

What the jaw leaves when it rises, and what it covers when it falls, is neck and background: the flow fades out towards
the border of the region, so that they stretch or shrink with it, and nothing has to be invented.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from anitalker.config import CROP, DubOptions
from anitalker.decoder.flow import landmark_flow
from anitalker.decoder.mouth import MouthSynthesizer, References
from anitalker.decoder.mouth_layer import MouthLayer, PreparedMouth, draw_mouth
from anitalker.decoder.mouth_patch import invert
from anitalker.faces.landmarks import CHIN, FOREHEAD, LIPS, face_height
from anitalker.models.base import DubbingModel
from anitalker.runtime.device import draws_in_bfloat16
from anitalker.runtime.smoothstep import smoothstep
from anitalker.runtime.transfer import to_tensor

GRID = 64
SMOOTHING = 1e-3  # of the landmark flow
NOSE_BASE = 2  # landmark at which the region begins
SIDES = (0.42, 0.66)  # face heights from the lips' middle to the sides up to which all, and none, of the flow counts
BELOW = (0.1, 0.42)  # the same from the lower one of both chins downwards
FOREHEAD_FADE = 0.12  # face heights from the top of the face down in which the flow of an expression sets in
WIDE_SIDES = (0.5, 0.74)  # as SIDES, for an expression
BORDER = 0.08  # crop widths from its border in which the flow of a head sets in
TOP = 0.06  # face heights below the base of the nose from which all of it counts
UNMOVED = 1e-3  # of the crop's side / 256: flow below it moves nothing


@dataclass(frozen=True)
class MovedFace:
    """One face of one frame: landmarks as filmed and wanted [1,N,3] in widths of the crop, which lies at x, y and has a
    side in pixels (place); motion code [1,M]; follow: what moves, as in DubOptions."""

    filmed: Tensor
    wanted: Tensor
    motion: Tensor
    place: tuple[int, int, int]
    references: References | None
    follow: str = DubOptions.follow


@torch.inference_mode()
def draw_face(model: DubbingModel, frame: np.ndarray, face: MovedFace) -> np.ndarray:
    """A frame uint8 [H,W,3] with the lips of one face moved; the frame itself where nothing moves."""
    flow = landmark_flow(face.filmed, face.wanted, GRID, SMOOTHING)
    share = region(face.filmed[0], face.wanted[0], face.follow)
    field = (flow[0] * share).permute(1, 2, 0).cpu().numpy()
    mouth = None
    if model.mouth is not None and face.references is not None:
        mouth = _mouth(model.mouth, frame, face, flow)
    return compose(frame, field, share.cpu().numpy(), mouth, face.place)


def region(filmed: Tensor, wanted: Tensor, follow: str = DubOptions.follow) -> Tensor:
    """How much of the flow counts: landmarks [N,3] twice -> [g,g].

    Where lips move (follow: speech, lips): 0 above the nose's base, 1 about lips, chin and jaw. Where the expression
    moves: 1 in the face, from the forehead down. Where all moves: 1 in the crop, but for its border.
    """
    if follow == "all":
        return _inside_border(filmed.device)
    down = torch.nn.functional.normalize(filmed[CHIN, :2] - filmed[FOREHEAD, :2], dim=0)
    across = torch.stack([down[1], -down[0]])
    height = float(face_height(filmed))
    axis = (torch.arange(GRID, device=filmed.device) + 0.5) / GRID
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y], -1)
    middle, nose = filmed[list(LIPS), :2].mean(0), filmed[NOSE_BASE, :2]
    along, beside = ((points - nose) @ down) / height, ((points - middle) @ across).abs() / height
    chin = max(float((face[CHIN, :2] - nose) @ down) / height for face in (filmed, wanted))
    sides = SIDES
    if follow == "expression":
        brow = float((filmed[FOREHEAD, :2] - nose) @ down) / height
        top, sides = smoothstep((along - brow) / FOREHEAD_FADE), WIDE_SIDES
    else:
        top = smoothstep(along / TOP)
    bottom = 1 - smoothstep((along - chin - BELOW[0]) / (BELOW[1] - BELOW[0]))
    return top * bottom * (1 - smoothstep((beside - sides[0]) / (sides[1] - sides[0])))


def _inside_border(device: torch.device) -> Tensor:
    """1 inside a crop, 0 at its border, [g,g]."""
    axis = (torch.arange(GRID, device=device) + 0.5) / GRID
    inside = smoothstep(torch.minimum(axis, 1 - axis) / BORDER)
    return torch.minimum(inside[:, None], inside)


def _mouth(network: MouthSynthesizer, frame: np.ndarray, face: MovedFace, flow: Tensor) -> MouthLayer:
    """The mouth that the synthesiser draws from the frame's own and its references."""
    x, y, side = face.place
    device = flow.device
    assert face.references is not None
    prepared = PreparedMouth(to_tensor(_square(frame, x, y, side), device), face.filmed, face.references)
    use_bfloat16 = draws_in_bfloat16(device, network.config.channels[0])
    with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16):
        return draw_mouth(network, prepared, face.wanted, face.motion, flow)


def _square(frame: np.ndarray, x: int, y: int, side: int) -> np.ndarray:
    """The crop of a frame, uint8 [256,256,3]; beyond the frame its border is replicated."""
    inside = frame[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
    top, left = max(-y, 0), max(-x, 0)
    bottom, right = max(y + side - frame.shape[0], 0), max(x + side - frame.shape[1], 0)
    if top or bottom or left or right:
        inside = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE)
    smaller = cv2.INTER_AREA if side > CROP else cv2.INTER_CUBIC
    return cv2.resize(inside, (CROP, CROP), interpolation=smaller)


def compose(
    frame: np.ndarray, field: np.ndarray, share: np.ndarray, mouth: MouthLayer | None, place: tuple[int, int, int]
) -> np.ndarray:
    """The frame uint8 [H,W,3] moved by a field [g,g,2] in crop widths, with the mouth laid over it.

    share [g,g]: how much of the mouth counts. Pixels that the field does not move stay what they are.
    """
    x0, y0, side = place
    moving = (np.abs(field).max(-1) > UNMOVED / CROP) | (share > 0 if mouth is not None else False)
    rows, columns = (_span(moving.any(1 - axis), frame.shape[axis], start, side) for axis, start in ((0, y0), (1, x0)))
    out = frame.copy()
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return out
    fields = np.dstack([field * side, share]).astype(np.float32)
    fields = _enlarge(
        fields, side, slice(rows.start - y0, rows.stop - y0), slice(columns.start - x0, columns.stop - x0)
    )
    x = fields[..., 0] + np.arange(columns.start, columns.stop, dtype=np.float32)
    y = fields[..., 1] + np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    window = cv2.remap(frame, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if mouth is not None:
        _lay(window, mouth, fields[..., 2], rows, columns, place)
    out[rows, columns] = window
    return out


def _span(moving: np.ndarray, length: int, start: int, side: int) -> slice:
    """Pixels of a frame of `length` rows or columns that places [g] reach, of a crop that begins at `start`."""
    places = np.flatnonzero(moving)
    if not len(places):
        return slice(0, 0)
    low, high = ((place * side / GRID) + start for place in (places[0] - 1, places[-1] + 2))
    return slice(max(int(low), start, 0), min(int(high), start + side, length))


def _enlarge(fields: np.ndarray, side: int, rows: slice, columns: slice) -> np.ndarray:
    """Fields [g,g,C] of the crop at its pixels in rows and columns -> float32 [h,w,C], bilinear."""
    y, x = (
        (np.arange(span.start, span.stop, dtype=np.float32) + 0.5) * (GRID / side) - 0.5 for span in (rows, columns)
    )
    x, y = np.broadcast_to(x, (len(y), len(x))), np.broadcast_to(y[:, None], (len(y), len(x)))
    return cv2.remap(
        fields, np.ascontiguousarray(x), np.ascontiguousarray(y), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _lay(
    window: np.ndarray, mouth: MouthLayer, share: np.ndarray, rows: slice, columns: slice, place: tuple[int, int, int]
) -> None:
    """Lay a mouth over a window uint8 [h,w,3] of the moved frame; changes it."""
    x0, y0, side = place
    matrix, centre = invert(mouth.placement[0, :, :2]).cpu().numpy(), mouth.placement[0, :, 2].cpu().numpy()
    change = np.ascontiguousarray(mouth.change[0].permute(1, 2, 0).cpu().numpy())
    size = change.shape[0]
    dx = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - x0) / side - centre[0]
    dy = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - y0) / side - centre[1]
    u, v = ((row[0] * dx + (row[1] * dy)[:, None] + 1) * (size / 2) - 0.5 for row in matrix)
    drawn = cv2.remap(change, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    drawn[..., :3] *= (127.5 * share * drawn[..., 3])[..., None]
    cv2.add(window, drawn[..., :3], dst=window, dtype=cv2.CV_8U)
