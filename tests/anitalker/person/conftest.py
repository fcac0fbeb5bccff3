"""The shipped model, and a person file of the example portrait that was made without a video."""

from __future__ import annotations

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def talker():
    from anitalker.pipeline import load

    return load("lite", "cpu")


@pytest.fixture(scope="session")
def picture(example_portrait) -> np.ndarray:
    """The example portrait, uint8 [240,240,3]."""
    from PIL import Image

    with Image.open(example_portrait) as image:
        return np.asarray(image.convert("RGB").resize((240, 240), Image.Resampling.BICUBIC))


@pytest.fixture(scope="session")
def traits(talker, picture):
    """Two references cut from the portrait itself, and a manner that is easily seen."""
    from anitalker.decoder.mouth_adapters import tuned_keys
    from anitalker.decoder.mouth_patch import cut_patch, place_patch
    from anitalker.models.base import PersonTraits
    from anitalker.motion.manner import Manner
    from anitalker.runtime.transfer import to_bytes, to_tensor

    model, face = talker.model, talker.portrait(picture).faces[0]
    patch = to_bytes(cut_patch(to_tensor(face.crop.image), place_patch(face.landmarks)))
    rest = torch.zeros(20)
    rest[6:] = 0.01
    bias = next(key for key in tuned_keys(model.mouth) if key == "exit.bias")
    return PersonTraits(
        patch.repeat(2, 1, 1, 1),
        face.landmarks.repeat(2, 1, 1),
        face.motion.repeat(2, 1),
        model.space.neutral(face.landmarks, face.motion)[0] + 0.002,
        Manner(1.4, 0.5, 2.5, rest),
        {bias: torch.full_like(model.mouth.exit.bias, 0.2).half()},
        {"weight": model.generator.lips.out.weight * 1.1, "bias": model.generator.lips.out.bias},
    )


@pytest.fixture(scope="session")
def make_person(talker, picture, traits, tmp_path_factory):
    """Writes a person file; changes: of the fields of PersonFile."""
    from dataclasses import replace

    from anitalker.person.person_file import PersonFile, write_person

    def make(name="person.safetensors", **changes):
        person = PersonFile(picture, traits, "Ada Lovelace", talker.model.fingerprint, {"date": "2026-11-28"})
        path = tmp_path_factory.mktemp("person") / name
        write_person(path, replace(person, **changes))
        return path

    return make
