"""Small changes of the mouth synthesiser's last layers that make it one person's.

What compares places with references stays as it is; what is tuned is how a mouth is drawn from what was taken there:
a third of the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from anitalker.config import InputError
from anitalker.decoder.mouth import MouthSynthesizer
from anitalker.runtime.bfloat16 import KEPT

# First names of the parameters that are tuned.
TUNED = ("join", "modulate", "narrow16", "narrow32", "up16", "up32", "exit")


def tuned_keys(network: MouthSynthesizer) -> list[str]:
    """Names of the parameters that may differ from person to person."""
    return [name for name, _ in network.named_parameters() if name.split(".")[0] in TUNED]


def changes_of(tuned: MouthSynthesizer, network: MouthSynthesizer) -> dict[str, Tensor]:
    """What makes a network out of another: float16 tensors by name."""
    before, after = network.state_dict(), tuned.state_dict()
    return {key: (after[key] - before[key]).half().cpu() for key in tuned_keys(network)}


def with_changes(network: MouthSynthesizer, changes: Mapping[str, Tensor]) -> MouthSynthesizer:
    """A copy of the network with changes added to its weights; InputError where they do not fit it."""
    known = {key: network.get_parameter(key) for key in tuned_keys(network)}
    for key, change in changes.items():
        if key not in known or known[key].shape != change.shape or not change.float().isfinite().all():
            raise InputError(
                f"person file has mouth weights that do not fit its model ({key[:60]!r}); make it again with "
                "anitalker tune"
            )
    adapted = copy.deepcopy(network)
    adapted.__dict__.pop(KEPT, None)
    with torch.no_grad():
        for key, change in changes.items():
            adapted.get_parameter(key).add_(change.to(known[key]))
    return adapted
