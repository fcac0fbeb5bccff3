"""The models that a visitor can choose. One is in memory at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from anitalker.config import InputError
from anitalker.weights import registry

if TYPE_CHECKING:
    from anitalker.pipeline import Talker

STAGE_TWO_PREFIXES = ("hubert_", "mfcc_")  # registered motion generators of the family `original`


class Models:
    """Holds one loaded model and replaces it when another is asked for."""

    def __init__(self, talker: Talker, name: str, device: str = "auto") -> None:
        self.name, self.device = name, device
        self.loads = 1  # how many models have been loaded so far
        self._talker: Talker | None = talker
        self._default_name = name
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The names on offer: the server's default first, then every registered model whose files are present."""
        present = {name for name, entry in registry.REGISTRY.items() if registry.locate(entry)}
        names = [name for name, entry in registry.REGISTRY.items() if entry.model and name in present]
        if "stage1" in present and any(name.startswith(STAGE_TWO_PREFIXES) for name in present):
            names.append("original")
        return list(dict.fromkeys([self._default_name, *names]))

    def loaded(self, name: str | None = None) -> Talker | None:
        """Return the model in memory, at once, if it is the one of that name (default: any)."""
        talker, loaded_name = self._talker, self.name
        return talker if name in (None, loaded_name) else None

    def get(self, name: str | None = None) -> Talker:
        """Return the model of that name (default: the loaded one), loading it if needed.

        Raises InputError for a name that is not on offer.
        """
        from anitalker.pipeline import load

        with self._lock:
            name = name or self.name
            if name not in self.names:
                raise InputError(f"model is {name!r}; allowed are {', '.join(self.names)}")
            if self._talker is None or name != self.name:
                self._talker = None  # free the old model before the new one is loaded
                self._talker, self.name = load(name, self.device), name
                self.loads += 1
            return self._talker
