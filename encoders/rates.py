"""Sample rate and frame rate of all models. Imports nothing, so that configuration can read them without torch."""

SAMPLE_RATE = 16_000  # Hz, speech, mono
FPS = 25  # video frames per second
