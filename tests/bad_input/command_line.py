"""Arguments of a render that works, but for what is changed."""


def arguments(**changed):
    """`anitalker render` with the good portrait, speech, output and model; keys are positions or flags."""
    values = {"portrait": "good.webp", "speech": "good.wav", "-o": "out.mp4", "--model": "model.safetensors", **changed}
    return [
        "render",
        *(argument for key, value in values.items() for argument in ((key, value) if key[0] == "-" else (value,))),
    ]
