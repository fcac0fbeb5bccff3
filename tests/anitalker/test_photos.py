"""More pictures of a person: read, given to the face that they show, doubted, and used."""

import numpy as np
import pytest
import torch
from PIL import Image

from anitalker.config import InputError, RenderOptions
from anitalker.models.base import PersonTraits
from anitalker.motion.manner import USUAL
from anitalker.person.person_file import PersonFile, write_person
from anitalker.photos import MAX_PHOTOS, read_known_mouths
from anitalker.pipeline import load


@pytest.fixture(scope="module")
def talker():
    return load("lite", "cpu")


@pytest.fixture(scope="module")
def picture(example_portrait):
    with Image.open(example_portrait) as image:
        return np.asarray(image.convert("RGB").resize((240, 240)))


@pytest.fixture(scope="module")
def photo(picture, tmp_path_factory):
    """The same person a little darker and nearer."""
    target = tmp_path_factory.mktemp("photos") / "photo.png"
    Image.fromarray((picture[10:230, 10:230] * 0.9).astype(np.uint8)).save(target)
    return target


def test_a_photo_becomes_a_reference_of_the_mouth(talker, picture, photo, caplog):
    plain = talker.portrait(picture)
    ready = talker.portrait(picture, photos=[photo])
    assert plain.faces[0].mouth.references.patches.shape[1] == 1
    assert ready.faces[0].mouth.references.patches.shape[1] == 2
    assert len(ready.photos[0]) == 1
    assert "somebody else" not in caplog.text


def test_expression_is_settled_over_all_pictures_and_the_landmarks_stay(talker, picture, photo):
    plain, ready = talker.portrait(picture).faces[0], talker.portrait(picture, photos=[photo]).faces[0]
    assert (plain.motion[0, :6] == ready.motion[0, :6]).all()
    assert 1e-5 < (plain.motion[0, 6:] - ready.motion[0, 6:]).abs().max() < 0.1
    assert (plain.landmarks == ready.landmarks).all()


def test_a_smaller_copy_keeps_the_photos(talker, picture, photo):
    ready = talker.resized(talker.portrait(picture, photos=[photo]), 128)
    assert ready.faces[0].mouth.references.patches.shape[1] == 2


def test_options_carry_them_through_the_pipeline(talker, picture, photo, tmp_path):
    source = tmp_path / "portrait.png"
    Image.fromarray(picture).save(source)
    portrait = talker.prepare(source, RenderOptions(also=(str(photo),)))
    assert portrait.faces[0].mouth.references.patches.shape[1] == 2


def test_somebody_else_is_doubted(talker, picture, tmp_path, caplog):
    rng = np.random.default_rng(0)
    warped = Image.fromarray(picture[:, ::-1]).resize((190, 240))
    other = np.asarray(warped)[..., ::-1].astype(float) * [1.0, 0.7, 0.5] + rng.normal(0, 12, (240, 190, 3))
    Image.fromarray(other.clip(0, 255).astype(np.uint8)).save(tmp_path / "other.png")
    import anitalker.photos as photos

    limit, photos.DOUBTFUL = photos.DOUBTFUL, 0.99
    try:
        talker.portrait(picture, photos=[tmp_path / "other.png"])
    finally:
        photos.DOUBTFUL = limit
    assert "also may show somebody else than the portrait" in caplog.text


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: Image.new("RGB", (100, 100), "red").save(path), "also shows no face"),
        (lambda path: path.write_bytes(b"no picture"), "also"),
    ],
)
def test_pictures_that_cannot_serve_are_one_line(talker, picture, tmp_path, write, message):
    write(tmp_path / "photo.png")
    with pytest.raises(InputError, match=message):
        talker.portrait(picture, photos=[tmp_path / "photo.png"])


def test_too_many_pictures_are_one_line(talker, picture, photo):
    with pytest.raises(InputError, match=f"also came {MAX_PHOTOS + 1} times; allowed are up to {MAX_PHOTOS} pictures"):
        talker.portrait(picture, photos=[photo] * (MAX_PHOTOS + 1))


@pytest.fixture
def person(talker, picture, tmp_path):
    """Writes a person file with two references; model: for whose weights."""

    def write(model=talker.model.fingerprint):
        references = torch.zeros(2, 128, 128, 3, dtype=torch.uint8), torch.zeros(2, 468, 3), torch.zeros(2, 20)
        traits = PersonTraits(*references, torch.zeros(468, 3), USUAL)
        write_person(tmp_path / "ada.safetensors", PersonFile(picture, traits, "Ada Lovelace", model))
        return tmp_path / "ada.safetensors"

    return write


def test_a_dub_takes_the_mouth_of_a_picture_and_of_a_person_file(talker, photo, person, caplog):
    known = read_known_mouths(talker.model, talker.finder(), [photo, person()], lambda: talker.verifier)
    assert [mouth.name for mouth in known] == ["photo.png", "ada.safetensors"]
    assert [len(mouth.references) for mouth in known] == [1, 3]
    assert known[0].references[0].patch.shape == (128, 128, 3) and known[0].references[0].patch.dtype == np.uint8
    assert [mouth.consent for mouth in known] == ["", "Ada Lovelace"]
    assert known[0].embedding @ known[1].embedding > 0.6
    assert read_known_mouths(talker.model, talker.finder(), [], lambda: pytest.fail("loaded")) == []
    other = read_known_mouths(talker.model, talker.finder(), [person("0" * 64)], lambda: talker.verifier)
    assert len(other[0].references) == 1 and "made for other weights: only its portrait is used" in caplog.text


def test_mouths_that_cannot_serve_are_one_line(talker, photo, tmp_path):
    Image.new("RGB", (100, 100), "red").save(tmp_path / "wall.png")
    with pytest.raises(InputError, match=r"also shows no face: 'wall.png'; give a picture of somebody in the video"):
        read_known_mouths(talker.model, talker.finder(), [tmp_path / "wall.png"], lambda: talker.verifier)
    with pytest.raises(InputError, match=f"also came {MAX_PHOTOS + 1} times"):
        read_known_mouths(talker.model, talker.finder(), [photo] * (MAX_PHOTOS + 1), lambda: talker.verifier)
