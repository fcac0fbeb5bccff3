"""A dub from file to file: video, faces, speech, lips, sound."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing

import numpy as np

from anitalker import rendering
from anitalker.config import DubOptions, InputError, RenderOptions
from anitalker.dubbing.frames import Spoken, dubbed_frames
from anitalker.dubbing.speaking import Line, speak
from anitalker.dubbing.tracks import Track, find_tracks
from anitalker.faces.detection import FaceFinder
from anitalker.files import check_output, check_output_is_no_input
from anitalker.media.clip import Clip, frames_of, open_clip
from anitalker.media.fit import playback, playback_note
from anitalker.media.soundtrack import Soundtrack
from anitalker.models.base import DubbingModel, Model, PathLike, ProgressCallback
from anitalker.rendering import RenderFacts
from anitalker.runtime.device import Clock

TIMES_TOLD = 5
AROUND_SECONDS = 4.0  # about each line whose frames are looked at, too: they show the mouth
log = logging.getLogger(__name__)
