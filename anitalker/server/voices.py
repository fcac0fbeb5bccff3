"""The voices for texts: the languages of espeak-ng, and piper's voice files in the folder that the server was given."""

from __future__ import annotations

from pathlib import Path

from anitalker.config import InputError

PIPER = "piper:"  # begins the value of a piper voice


class Voices:
    """What can speak a text. Visitors choose by name; they never name a file of the server."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` holds piper's voices, NAME.onnx with NAME.onnx.json. Raises InputError if there are none."""
        self.files: dict[str, Path] = {}
        if folder is not None:
            self.files = {file.stem: file for file in sorted(folder.glob("*.onnx")) if Path(f"{file}.json").is_file()}
            if not self.files:
                raise InputError(
                    f"--voices is {str(folder)!r}, which has no voice; give a folder of NAME.onnx with its .json"
                )

    def choices(self) -> list[tuple[str, str]]:
        """Return (label, value) of every voice, piper's first; empty where none can speak."""
        from anitalker.media.text_to_speech import voices

        try:
            spoken = [(f"{voice.language} ({voice.name})", voice.name) for voice in voices()]
        except InputError:
            spoken = []
        piper = [(f"{name} (piper)", f"{PIPER}{name}") for name in self.files]
        guess = [("Guess from the text", "")] if spoken else []
        return [*guess, *piper, *spoken]

    def resolve(self, value: object) -> str | None:
        """Return what `speak` takes for a visitor's choice; None to guess. Raises InputError for a file or no voice."""
        voice = str(value or "")
        if voice.startswith(PIPER):
            name = voice.removeprefix(PIPER)
            if name not in self.files:
                raise InputError(
                    f"voice is {name!r}; allowed are {', '.join(self.files) or 'languages, by their code'}"
                )
            return str(self.files[name])
        if voice.endswith(".onnx"):  # a visitor may not name files on the server
            raise InputError("voice files are for the command line; choose a language")
        return voice or None

    def name_of(self, voice: str) -> str:
        """Return the name for people of the voice that `speak` says it used."""
        from anitalker.media.text_to_speech import voices

        if voice.endswith(".onnx"):
            return f"{Path(voice).stem}, piper"
        names = [known.language for known in voices() if known.name == voice]
        return f"{names[0] if names else voice} ({voice}), espeak-ng"
