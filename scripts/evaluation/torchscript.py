"""Networks that a user gives as TorchScript files."""

from __future__ import annotations

import torch

from anitalker.config import InputError


def load_torchscript(path: str, option: str) -> torch.jit.ScriptModule:
    """The network in a file for a command-line option; InputError if it is none."""
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        line = " ".join(str(error).split())[:100]
        raise InputError(
            f"{option} is {path!r}, which is no TorchScript file ({line}); export the network with torch.jit.save"
        ) from None
