"""Photos become a person file without any training; photos that do not fit are one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError
from anitalker.person.from_photos import find_photos
from anitalker.person.person_file import read_person
from anitalker.person.tune_options import TuneOptions

OPTIONS = TuneOptions("Ada Lovelace", minutes=0)


@pytest.fixture(scope="module")
def photos(picture, tmp_path_factory):
    """The example portrait three times, a little nearer and darker each time."""
    folder = tmp_path_factory.mktemp("photos")
    for number, cut in enumerate((0, 6, 12)):
        pixels = picture[cut : 240 - cut, cut : 240 - cut] * (1 - 0.05 * number)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
def test_photos_become_a_person(talker, photos, tmp_path):
    told = []
    target = tmp_path / "ada.safetensors"
    facts = talker.tune([photos], target, OPTIONS, lambda *step: told.append(step))
    person = read_person(target)
    assert facts["photos"] == 3 and facts["references"] == 2 and facts["finished"] and facts["mouth"] is None
    assert person.facts["photos"] == 3 and len(person.facts["sources"]) == 3 and not person.traits.mouth
    assert told[-1] == ("pictures", 3, 3)
    face = talker.portrait(target).faces[0]
    assert face.mouth.references.patches.shape[1] == 3 and face.manner.lips == 1
    assert np.abs(face.landmarks.numpy() - face.crop.landmarks).max() < 1e-5


@pytest.mark.slow
def test_the_portrait_can_be_chosen(talker, photos, tmp_path):
    target = tmp_path / "ada.safetensors"
    talker.tune([photos], target, TuneOptions("Ada", str(photos / "2.png"), 0))
    assert read_person(target).portrait.shape == (216, 216, 3)
    with pytest.raises(InputError, match=r"portrait is 3.5 s, but photos came; give a picture"):
        talker.tune([photos], target, TuneOptions("Ada", "3.5", 0))


def test_one_photo_is_too_few(talker, photos, tmp_path):
    with pytest.raises(InputError, match="1 photo came; give 2 to 9 of one person, or a video"):
        talker.tune([photos / "0.png"], tmp_path / "a.safetensors", OPTIONS)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_people_and_somebody_else_are_refused(talker, photos, root, tmp_path, monkeypatch):
    pair = root / "app/examples/pair.webp"
    with pytest.raises(InputError, match=r"photo shows 2 people: 'pair.webp'"):
        talker.tune([photos / "0.png", pair], tmp_path / "a.safetensors", OPTIONS)
    monkeypatch.setattr("anitalker.person.from_photos.DIFFERENT", 0.4)
    with pytest.raises(InputError, match=r"'man.webp' shows somebody else than '0.png'; give photos of one person"):
        talker.tune([photos / "0.png", root / "app/examples/man.webp"], tmp_path / "a.safetensors", OPTIONS)


def test_a_photo_without_a_face_is_named(talker, photos, tmp_path):
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "wall.png")
    with pytest.raises(InputError, match=r"photo shows no face: 'wall.png'; give another"):
        talker.tune([photos / "0.png", tmp_path / "wall.png"], tmp_path / "a.safetensors", OPTIONS)


def test_a_covered_mouth_is_no_reference(talker, photos, tmp_path, monkeypatch):
    covered = talker.model._covered
    monkeypatch.setattr(talker.model, "_covered", lambda codes: ~covered(codes))
    with pytest.raises(InputError, match="something covers the mouth in all photos but the portrait"):
        talker.tune([photos], tmp_path / "a.safetensors", OPTIONS)


def test_videos_and_photos_do_not_mix(tmp_path):
    for name in ("a.mp4", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match="videos and photos came together; give one of the two"):
        find_photos([tmp_path / "a.mp4", tmp_path / "b.jpg"])
    assert find_photos([tmp_path]) == [] == find_photos([tmp_path / "a.mp4"])  # a folder with a video is one of videos
    assert find_photos([str(tmp_path / "b.jpg")]) == [Path(tmp_path / "b.jpg")]
