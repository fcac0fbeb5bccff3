"""A portrait speaks a recording: python examples/render.py PORTRAIT SPEECH OUT.mp4"""

import sys

from anitalker.config import RenderOptions
from anitalker.pipeline import load

portrait_file, speech_file, output = sys.argv[1:]
talker = load("lite")
portrait = talker.portrait(portrait_file)
facts = talker.render(portrait, speech_file, output, RenderOptions(seed=1))
print(f"{facts['output']}: {facts['frames']} frames, real-time factor {facts['real_time_factor']:.2f}")
