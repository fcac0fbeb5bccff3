"""More pictures of a person: read, given to the face that they show, doubted, and used."""

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError, RenderOptions
from anitalker.photos import MAX_PHOTOS
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
