"""Waveform -> weighted sum of the hidden states of HuBERT large at 50 Hz (Hsu et al. 2021), for the original's models.

Letters: N samples at 16 kHz, K frames of HuBERT, S its width (1024), L hidden states (25: the inputs of its 24 layers,
and the normalised output of the last one).

The network comes from the package `transformers` (extra `hubert`), its weights from a local folder or from the cache of
huggingface_hub. Nothing is downloaded here.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

NAME = "TencentGameMate/chinese-hubert-large"  # on huggingface.co; the original's models were trained on its features
FILES = ("config.json", "preprocessor_config.json", "pytorch_model.bin")  # of that repository
WINDOW_FRAMES = 1000  # 20 s that HuBERT processes at once; shorter recordings are not cut
CONTEXT_FRAMES = 100  # 2 s at each end of a window whose features are not used, except at the recording's ends
VARIANCE_EPSILON = 1e-7  # added to the variance


class Hubert:
    """Features of speech: the weighted sum of all hidden states, frame by frame.

    network: a HubertModel of transformers, or a module with the same attributes; weights [L]: one per hidden state;
    normalise: bring recordings to zero mean and unit variance first. ValueError where the number of weights is not that
    of the hidden states.

    Recordings longer than 20 s are processed in windows of 20 s that overlap by 4 s. Each state is added to the sum as
    soon as it is computed, so an hour needs 0.7 GB for its features, not 25 times as much.
    """

    def __init__(self, network: Any, weights: Tensor, normalise: bool = True) -> None:
        if len(network.encoder.layers) + 1 != len(weights):
            raise ValueError(
                f"HuBERT has {len(network.encoder.layers)} layers; the motion generator weighs {len(weights) - 1}, "
                f"as {NAME} has"
            )
        self.network, self.normalise = network, normalise
        self.weights = weights.detach().tolist()
        config = network.config
        self.layers = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.hop, self.field = 1, 1  # samples from one frame to the next; receptive field of a frame, in samples
        for kernel, stride in reversed(self.layers):
            self.field = (self.field - 1) * stride + kernel
            self.hop *= stride

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return next(self.network.parameters()).device

    def frame_count(self, samples: int) -> int:
        """K, the frames of a recording of `samples` samples; `samples` >= `field`."""
        return (samples - self.field) // self.hop + 1

    @torch.no_grad()
    def features(self, waveform: Tensor) -> Tensor:
        """Samples [N] -> float32 [K+1,S] on the network's device; the last frame is repeated once, as in the original.

        K = (N - 400) // 320 + 1; recordings below 400 samples are padded with zeros. ValueError without a sample.
        """
        if waveform.ndim != 1 or not len(waveform):
            raise ValueError(f"waveform is {tuple(waveform.shape)}; at least one sample [N] is needed")
        sound = waveform.float()
        if self.normalise:
            variance, mean = torch.var_mean(sound, correction=0)
            sound = (sound - mean) / (variance + VARIANCE_EPSILON).sqrt()
        sound = nn.functional.pad(sound, (0, max(0, self.field - len(sound))))
        count = self.frame_count(len(sound))
        chunks, done = [], 0
        while done < count:
            end = min(count, max(0, done - CONTEXT_FRAMES) + WINDOW_FRAMES)
            begin = max(0, end - WINDOW_FRAMES)  # the last window is as long as the others
            until = end if end == count else end - CONTEXT_FRAMES
            window = self._weighted_states(sound[begin * self.hop : (end - 1) * self.hop + self.field])
            chunks.append(window[done - begin : until - begin])
            done = until
        chunks.append(chunks[-1][-1:])
        return torch.cat(chunks)

    def _weighted_states(self, sound: Tensor) -> Tensor:
        """Samples of one window -> weighted sum of the hidden states [frames,S]."""
        total: Tensor | None = None
        weights = iter(self.weights)

        def add(state: Tensor) -> None:
            nonlocal total
            weighted = next(weights) * state
            total = weighted if total is None else total.add_(weighted)

        # `output_hidden_states` would keep all states at once. Its last one is normalised in version 4 of transformers,
        # as here, but not in version 5.
        hooks = [
            layer.register_forward_pre_hook(lambda module, inputs: add(inputs[0]))
            for layer in self.network.encoder.layers
        ]
        try:
            add(self.network(sound[None].to(self.device)).last_hidden_state)
        finally:
            for hook in hooks:
                hook.remove()
        assert total is not None  # the network has at least one layer
        return total[0]


def load(source: str | os.PathLike, weights: Tensor) -> Hubert:
    """HuBERT from a local folder (config.json and weights) or a hub name, in float32 on the CPU.

    A hub name is looked up in the cache of huggingface_hub; nothing is downloaded. Errors are one line that says what
    to do: ModuleNotFoundError without transformers, FileNotFoundError without the files, ValueError if the files are
    not those of a HuBERT with these weights.
    """
    try:
        import transformers
    except ImportError as error:
        raise ModuleNotFoundError(
            'HuBERT needs the package transformers; install it with: pip install "anitalker[hubert]"'
        ) from error
    folder = find(source)
    bars, level = transformers.utils.logging.is_progress_bar_enabled(), transformers.logging.get_verbosity()
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    try:
        loaded: Any = transformers.HubertModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        network, info = loaded
    except Exception as error:  # transformers raises many types, and each means that it cannot read the files
        raise ValueError(f"{str(folder)!r} holds no HuBERT that transformers can read: {_one_line(error)}") from error
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()
    if missing := sorted(set(info["missing_keys"]) - {"masked_spec_embed"}):  # used in training only
        raise ValueError(
            f"HuBERT in {str(folder)!r} lacks {len(missing)} tensors ({missing[0]} ...); download it again"
        )
    return Hubert(network.float().eval(), weights, _do_normalize(folder))


def find(source: str | os.PathLike) -> Path:
    """The folder of a HuBERT: `source` itself, or the cached copy of that hub name. FileNotFoundError if none is."""
    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(str(source), local_files_only=True))
        except (HFValidationError, LocalEntryNotFoundError) as error:
            raise FileNotFoundError(_how_to_get(source)) from error
    if not (folder / FILES[0]).is_file():
        raise FileNotFoundError(f"{FILES[0]} is not in {str(folder)!r}: {_how_to_get(source)}")
    return folder


def _how_to_get(source: str | os.PathLike) -> str:
    """The message for a missing HuBERT."""
    return (
        f"HuBERT is {str(source)!r}, neither a folder nor in the cache of huggingface_hub; download it (1.3 GB, from "
        f"huggingface.co) with: hf download {NAME} {' '.join(FILES)}; or name a folder that holds these files"
    )


def _do_normalize(folder: Path) -> bool:
    """`do_normalize` of the feature extractor's configuration; True without that file."""
    path = folder / FILES[1]
    return bool(json.loads(path.read_text(encoding="utf-8")).get("do_normalize", True)) if path.is_file() else True


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
