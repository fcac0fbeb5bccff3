"""Networks with bfloat16 weights for inference under autocast on the CPU, converted once."""

from __future__ import annotations

import copy
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
KEPT = "_bfloat16_copy"  # in the module's dictionary, where it is no submodule


def converts(sample: Tensor) -> bool:
    """Whether autocast would convert every layer's weights to bfloat16 at every call: on the CPU, for inference."""
    on_cpu = sample.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return on_cpu and torch.get_autocast_dtype("cpu") == torch.bfloat16 and not torch.is_grad_enabled()


def in_bfloat16(network: Network) -> Network:
    """A copy whose convolutions and linear layers have bfloat16 weights, kept with the network for the next call.

    Equivalent to the network itself under autocast. A copy is made again after weights have changed.
    """
    state = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in network.parameters()]
    kept = network.__dict__.get(KEPT)
    if kept is None or kept[0] != state:
        network.__dict__.pop(KEPT, None)
        converted = copy.deepcopy(network)
        for layer in converted.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                cast(Any, layer).to(torch.bfloat16, memory_format=torch.channels_last)
        kept = network.__dict__[KEPT] = state, converted
    return kept[1]
