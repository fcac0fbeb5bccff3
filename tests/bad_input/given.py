"""Arguments of a render that works, but for what is changed."""


def arguments(**changed):
    """`anitalker render` with the good portrait, speech, output and model; keys are positions or flags."""
    given = {"portrait": "good.webp", "speech": "good.wav", "-o": "out.mp4", "--model": "model.safetensors", **changed}
    return ["render", *(part for key, value in given.items() for part in ((key, value) if key[0] == "-" else (value,)))]
