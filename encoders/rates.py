"""Sample rate and frame rate of every model. Imports nothing, so configuration can read them without torch."""

SAMPLE_RATE = 16_000  # Hz, speech, mono
FPS = 25  # video frames per second
