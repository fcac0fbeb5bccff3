"""Networks without initial weights, for those of a file to take their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class Uninitialised(TorchFunctionMode):
    """A context in which networks are built without the weights that `torch.nn.init` would draw.

    Half of the time that loading takes went there, and memory that is never written is never used.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Leave the tensor of an initialisation as it is; call any other function."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
