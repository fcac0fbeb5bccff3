"""The avatars of a visit: kept in the session's folder, counted, replaced and deleted with their files."""

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError
from anitalker.person.person_file import read_person
from anitalker.server.limits import Limits
from app.avatar.people import add_person, file_behind, person_behind, remove_person
from app.sessions import SessionStore


@pytest.fixture
def session():
    store = SessionStore(Limits())
    yield store.get("a")
    store.close()


def test_a_picture_stands_for_the_file(session, make_person_file, tmp_path):
    person = add_person(session, make_person_file(tmp_path / "x.safetensors", seconds=30), "ada", 6)
    assert person.file.name == "ada.safetensors" and person.file.is_relative_to(session.folder / "people")
    assert (np.asarray(Image.open(person.picture)) == read_person(person.file).portrait).all()
    assert file_behind(session, person.picture) == person.file and person_behind(session, person.picture) is person
    assert file_behind(session, tmp_path / "other.png") == tmp_path / "other.png"
    assert person.consent == "Ada Lovelace" and person.facts == {"seconds": 30} and person.finished
    assert not (tmp_path / "x.safetensors").exists()


def test_the_oldest_go_and_what_is_replaced(session, make_person_file, tmp_path):
    people = [add_person(session, make_person_file(tmp_path / "x.safetensors"), "ada", 2) for _ in range(3)]
    assert [person.number for person in session.people] == [2, 3] and not people[0].file.exists()
    sample = tmp_path / "before.mp4", tmp_path / "after.mp4"
    for path in sample:
        path.write_bytes(b"x")
    newest = add_person(session, make_person_file(tmp_path / "x.safetensors"), "ada", 2, sample, people[2])
    assert [person.number for person in session.people] == [2, 4] and newest.after.read_bytes() == b"x"
    remove_person(session, 4)
    remove_person(session, 99)
    assert [person.number for person in session.people] == [2] and not newest.picture.exists()


def test_what_is_no_person_file_is_refused(session, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="is no safetensors file"):
        add_person(session, tmp_path / "a.safetensors", "a", 6)
    assert session.people == [] and not (session.folder / "people").exists()


def test_nothing_comes_back_after_a_visitor_has_deleted_all(make_person_file, tmp_path):
    store = SessionStore(Limits())
    session = store.get("a")
    store.delete("a")
    with pytest.raises(FileNotFoundError):
        add_person(session, make_person_file(tmp_path / "x.safetensors"), "ada", 6)
    assert not session.folder.exists() and session.people == []
    store.close()
