"""AniTalker: one portrait and a speech recording in, a video out in which the portrait speaks."""

import os

# Before torch is loaded: threads that wait shall sleep. Spinning, two threads on cores that other programs use too
# need twenty times as long for a frame (4.3 s against 0.18 s at load 11).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
