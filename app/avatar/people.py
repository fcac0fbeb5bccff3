"""The avatars of a visit: person files, each with a picture that stands for it where the page wants a portrait."""

from __future__ import annotations

import io
import secrets
import shutil
from pathlib import Path

from PIL import Image

from anitalker.person.person_file import SUFFIX, PersonFile, read_person

from ..sessions import Person, Session


def add_person(
    session: Session,
    file: Path,
    name: str,
    maximum: int,
    samples: tuple[Path, Path] | None = None,
    replaced: Person | None = None,
) -> Person:
    """Move a person file, and samples before and after, into the session. InputError where it is no person file.

    The oldest go when there are more than `maximum`. replaced: goes, too.
    """
    person = read_person(file)
    session.people_count += 1
    people = session.folder / "people"
    people.mkdir(exist_ok=True)  # not where the session is gone: nothing may come back after a visitor has deleted it
    folder = people / f"{session.people_count}-{secrets.token_hex(8)}"
    folder.mkdir()
    kept = Path(file).replace(folder / f"{name}{SUFFIX}")
    picture = folder / f"{name}.png"
    picture.write_bytes(_png(person))
    moved = tuple(sample.replace(folder / sample.name) for sample in samples or ())
    added = Person(session.people_count, kept, picture, person.consent, person.facts, *moved)
    session.people.append(added)
    if replaced is not None:
        remove_person(session, replaced.number)
    while len(session.people) > maximum:
        remove_person(session, session.people[0].number)
    return added


def remove_person(session: Session, number: int) -> None:
    """Delete a person with its files; nothing where there is none of this number."""
    for person in [person for person in session.people if person.number == number]:
        session.people.remove(person)
        shutil.rmtree(person.file.parent, ignore_errors=True)


def person_behind(session: Session, picture: Path) -> Person | None:
    """The avatar that a picture stands for, if it does."""
    return next((person for person in session.people if person.picture == picture), None)


def file_behind(session: Session, picture: Path) -> Path:
    """The person file that a picture stands for; the picture itself where it stands for none."""
    person = person_behind(session, picture)
    return picture if person is None else person.file


def _png(person: PersonFile) -> bytes:
    """The portrait's very pixels: faces are found in it as in the person file."""
    stream = io.BytesIO()
    Image.fromarray(person.portrait).save(stream, "PNG", compress_level=3)
    return stream.getvalue()
