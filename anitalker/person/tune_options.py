"""What a person file is made with, and the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from anitalker.config import InputError

MAX_MINUTES = 600


@dataclass(frozen=True)
class TuneOptions:
    """consent: who agreed to this avatar; it is stored in the file and in every video's credentials. portrait: a number
    of seconds in the first video, or a picture file; None: the most frontal, neutral, sharp frame. minutes: of training
    at most; it ends earlier where nothing more is gained."""

    consent: str = ""
    portrait: str | None = None
    minutes: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.minutes <= MAX_MINUTES:  # also refuses NaN
            raise InputError(f"minutes is {self.minutes}; allowed is 0 to {MAX_MINUTES}")
