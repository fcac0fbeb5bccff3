"""Portraits that were uploaded and prepared, by their ids."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from anitalker.config import InputError, RenderOptions
from anitalker.server.limits import Limits, check_picture

if TYPE_CHECKING:
    from anitalker.pipeline import Portrait, Talker

MAX_AVATARS = 32  # in memory; the one that was used longest ago leaves
MAX_SUFFIX_CHARACTERS = 12


class UnknownAvatar(KeyError):
    """There is no avatar of this id: it was never made, was deleted, or left after a while without use."""


@dataclass
class Avatar:
    """A prepared portrait. used: when, in seconds of the monotonic clock."""

    id: str
    portrait: Portrait
    used: float = field(default_factory=time.monotonic)


class AvatarStore:
    """Prepares portraits, one at a time, and keeps them while they are in use."""

    def __init__(self, talker: Talker, folder: Path, limits: Limits) -> None:
        self.talker, self.folder, self.limits = talker, folder, limits
        self._avatars: OrderedDict[str, Avatar] = OrderedDict()
        self._lock, self._preparing = threading.Lock(), threading.Lock()

    def add(self, upload: IO[bytes], name: str, face: str) -> Avatar:
        """Prepare a portrait from a file that was uploaded under `name`: whatever `Talker.portrait` takes.

        face: as in RenderOptions. InputError for a file without a face that can be animated.
        """
        file = save_upload(upload, name, self.folder)
        try:
            return self.add_file(file, face)
        except InputError as error:
            raise InputError(str(error).replace(str(file), Path(name).name[:80])) from None
        finally:
            shutil.rmtree(file.parent, ignore_errors=True)

    def add_file(self, file: Path, face: str) -> Avatar:
        """Prepare a portrait from a file of this machine, which stays where it is. InputError as for `add`."""
        options = RenderOptions(face=face)
        check_picture(file, self.limits)
        with self._preparing:
            portrait = self.talker.prepare(file, options)
        avatar = Avatar(secrets.token_hex(16), portrait)
        with self._lock:
            self._avatars[avatar.id] = avatar
            while len(self._avatars) > MAX_AVATARS:
                self._avatars.popitem(last=False)
        return avatar

    def get(self, avatar_id: str) -> Avatar:
        """The avatar of an id; UnknownAvatar if there is none."""
        with self._lock:
            if avatar_id not in self._avatars:
                raise UnknownAvatar(avatar_id)
            avatar = self._avatars[avatar_id]
            avatar.used = time.monotonic()
            self._avatars.move_to_end(avatar_id)
            return avatar

    def delete(self, avatar_id: str) -> None:
        """Forget an avatar; UnknownAvatar if there is none. Videos and sessions that have it go on."""
        with self._lock:
            if self._avatars.pop(avatar_id, None) is None:
                raise UnknownAvatar(avatar_id)

    def sweep(self) -> None:
        """Forget avatars that were not used for `Limits.keep_seconds`."""
        oldest = time.monotonic() - self.limits.keep_seconds
        with self._lock:
            for avatar in [avatar for avatar in self._avatars.values() if avatar.used < oldest]:
                del self._avatars[avatar.id]


def save_upload(upload: IO[bytes], name: str, folder: Path) -> Path:
    """Write an upload into a new folder below `folder`, under a name of ours that ends like `name`."""
    suffix = Path(name).suffix.lower()
    plain = suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) <= MAX_SUFFIX_CHARACTERS
    target = folder / secrets.token_hex(8) / f"upload{suffix if plain else ''}"
    target.parent.mkdir(parents=True)
    with target.open("wb") as file:
        shutil.copyfileobj(upload, file)
    return target
