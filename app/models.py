"""The models that can be chosen; one is in memory at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from anitalker.weights import registry

if TYPE_CHECKING:
    from anitalker.pipeline import Talker


class Models:
    """A loaded model, exchanged for another when that is asked for."""

    def __init__(self, talker: Talker, name: str, device: str = "auto") -> None:
        self.name, self.device, self.loads = name, device, 1
        self._talker: Talker | None = talker
        self._first = name
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """What can be chosen: the server's own, and the registered models whose files are here."""
        here = [name for name, entry in registry.REGISTRY.items() if entry.model and registry.locate(entry)]
        second = [name for name in registry.REGISTRY if name.startswith(("hubert_", "mfcc_"))]
        if registry.locate(registry.REGISTRY["stage1"]) and any(
            registry.locate(registry.REGISTRY[one]) for one in second
        ):
            here.append("original")
        return list(dict.fromkeys([self._first, *here]))

    def get(self, name: str | None = None) -> Talker:
        """The model of that name, loaded if it is not the one in memory; InputError for a name that is not offered."""
        from anitalker.config import InputError
        from anitalker.pipeline import load

        with self._lock:
            name = name or self.name
            if name not in self.names:
                raise InputError(f"model is {name!r}; allowed are {', '.join(self.names)}")
            if self._talker is None or name != self.name:
                self._talker = None  # before the next is loaded: one in memory
                self._talker, self.name = load(name, self.device), name
                self.loads += 1
            return self._talker
