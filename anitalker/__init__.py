"""AniTalker: one portrait and a speech recording in, a video out in which the portrait speaks."""

__version__ = "0.1.0"
