"""What the family `lite` holds: the networks of a model, and a face that is ready to move; and who looks where.

Letters: B frames at once, M = 20 motion numbers, N = 468 landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from anitalker.decoder.compositor import Compositor
from anitalker.decoder.decoder import Decoder, Prepared
from anitalker.decoder.eyeballs import EyeGeometry, eye_geometry
from anitalker.decoder.iris import IrisNetwork
from anitalker.decoder.mouth import MouthSynthesizer
from anitalker.decoder.mouth_layer import PreparedMouth
from anitalker.faces.crop import Crop
from anitalker.faces.landmarks import eye_opening
from anitalker.motion.generator import MotionGenerator
from anitalker.motion.manner import USUAL, Manner
from anitalker.motion.motion_space import Codes, MotionSpace, RestingFace
from anitalker.motion.occlusion import SHUT_EYE_OPENING

MAX_IRIS_ERROR = 0.09  # eye widths: an iris that is less sure is not moved
IRISES_UNSEEN = "its irises are hardly seen, and will not move; give a picture that shows the eyes"


@dataclass(frozen=True)
class Networks:
    """The networks of one model, in float32 on the CPU."""

    motion_space: MotionSpace
    decoder: Decoder
    generator: MotionGenerator
    speech: nn.Module
    name: str
    mouth: MouthSynthesizer | None = None


@dataclass(frozen=True)
class LiteFace:
    """One face of a portrait, ready to move.

    compositor: composes frames in the picture's own pixels, as far as the crop lies in the picture; resting: the
    landmarks, as motion moves them; eyes: None where the irises are not seen, which then stay. Of a person file:
    synthesizer, generator (None: the model's), manner.
    """

    crop: Crop
    codes: Codes
    landmarks: Tensor
    prepared: Prepared
    compositor: Compositor
    resting: RestingFace
    mouth: PreparedMouth | None = None
    synthesizer: MouthSynthesizer | None = None
    generator: MotionGenerator | None = None
    manner: Manner = USUAL
    eyes: EyeGeometry | None = None

    @property
    def motion(self) -> Tensor:
        """The portrait's own motion code [1,M]."""
        return self.codes.motion


def find_eyes(locator: IrisNetwork | None, image: Tensor, landmarks: Tensor, motion: Tensor) -> EyeGeometry | None:
    """The eyes of a crop [1,3,256,256] in [-1,1] with landmarks [1,N,3] and motion [1,M]; None where they are shut, or
    where an iris is not seen for sure."""
    if locator is None or float(eye_opening(landmarks)) < SHUT_EYE_OPENING:
        return None
    places = locator.locate(image, landmarks)
    if float(places.error.max()) > MAX_IRIS_ERROR:
        return None
    return eye_geometry(places, landmarks, motion)
