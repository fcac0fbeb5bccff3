"""What all sections of the report share: the model, the inspected face, and the groups of its motion numbers.

Letters: S stages, M motion numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from anitalker.inspection.views import View, to_display
from anitalker.models.base import PreparedFace
from anitalker.models.lite import Lite, LiteFace
from anitalker.pipeline import Talker


@dataclass
class Inspection:
    """A loaded model and the portrait that is inspected.

    image [1,3,n,n]: the encoder's input; stage_names [S]; groups [M]: pose, lips, eyes or none, set by `directions`.
    """

    talker: Talker
    view: View
    face: PreparedFace
    image: torch.Tensor
    stage_names: list[str]
    speech: Path | None
    groups: list[str]

    @classmethod
    def of_face(cls, talker: Talker, view: View, face: PreparedFace, speech: Path | None) -> Inspection:
        """Inspect a face that the talker has prepared."""
        image = view.encoder_input(face.crop.image[None])
        with torch.no_grad():
            sizes = [f"{stage.shape[-1]}x{stage.shape[-1]}" for stage in view.pyramid(image)]
        return cls(talker, view, face, image, sizes, speech, ["none"] * len(view.names))

    @property
    def picture(self) -> np.ndarray:
        """The encoder's input as float [n,n,3] in 0..1."""
        return to_display(self.image)[0]

    def members(self) -> dict[str, list[int]]:
        """Indices of the numbers in each group that is not empty, in the order pose, lips, eyes."""
        indices = {
            name: [n for n, group in enumerate(self.groups) if group == name] for name in ("pose", "lips", "eyes")
        }
        return {name: numbers for name, numbers in indices.items() if numbers}


def as_lite(inspection: Inspection) -> tuple[Lite, LiteFace] | None:
    """The model and the face if they are of the family `lite`."""
    if inspection.talker.model.family != "lite":
        return None
    return cast(Lite, inspection.talker.model), cast(LiteFace, inspection.face)
