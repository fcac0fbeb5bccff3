"""Waveform -> weighted hidden states of a large HuBERT at 50 Hz (Hsu et al. 2021), as the original's models hear them.

Letters: N samples at 16 kHz, K frames of HuBERT, S its width (1024), L its hidden states (25: what enters the first
layer, what enters each other one, and the normed output of the last).

The network is that of the package `transformers` (extra `hubert`); weights are a local folder, or are found in the
package's cache. Nothing is downloaded here.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from torch import Tensor, nn

NAME = "TencentGameMate/chinese-hubert-large"  # on huggingface.co; what the original's models were trained on
FILES = ("config.json", "preprocessor_config.json", "pytorch_model.bin")  # of that repository
WINDOW = 1000  # frames (20 s) that HuBERT sees at once; shorter recordings are heard whole
SIDE = 100  # frames (2 s) of context at each end of a window that are thrown away
QUIET = 1e-7  # added to the variance


class Hubert:
    """Features of speech: one weighted sum of all hidden states per frame.

    network: a HubertModel; weights [L]: how much each hidden state counts; normalise: bring recordings to zero mean and
    unit variance first. Raises ValueError where the number of states does not fit.

    Recordings above 20 s are heard in windows of 20 s with 2 s of context at both ends, and each state is added to the
    sum as soon as it is there: an hour needs 0.7 GB for its features, and not 25 times that.
    """

    def __init__(self, network: nn.Module, weights: Tensor, normalise: bool = True) -> None:
        if len(network.encoder.layers) + 1 != len(weights):
            raise ValueError(
                f"HuBERT has {len(network.encoder.layers)} layers; the motion generator weighs {len(weights) - 1}, "
                f"as {NAME} has"
            )
        self.network, self.normalise = network, normalise
        self.weights = weights.detach().tolist()
        config = network.config
        self.layers = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.hop, self.field = 1, 1  # samples from frame to frame, and that one frame sees
        for kernel, stride in reversed(self.layers):
            self.field = (self.field - 1) * stride + kernel
            self.hop *= stride

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def frame_count(self, samples: int) -> int:
        """Frames of `samples` of sound, at least `field` of them."""
        return (samples - self.field) // self.hop + 1

    @torch.no_grad()
    def features(self, waveform: Tensor) -> Tensor:
        """Samples [N] -> float32 [K+1,S] on the network's device; the last frame is repeated once, as in the original.

        K = (N - 400) // 320 + 1; recordings below 400 samples are filled up with silence.
        """
        if waveform.ndim != 1 or not len(waveform):
            raise ValueError(f"waveform is {tuple(waveform.shape)}; at least one sample [N] is needed")
        sound = waveform.float()
        if self.normalise:
            variance, mean = torch.var_mean(sound, correction=0)
            sound = (sound - mean) / (variance + QUIET).sqrt()
        sound = nn.functional.pad(sound, (0, max(0, self.field - len(sound))))
        count = self.frame_count(len(sound))
        pieces, made = [], 0
        while made < count:
            end = min(count, max(0, made - SIDE) + WINDOW)
            begin = max(0, end - WINDOW)  # the last window is as long as the others
            until = end if end == count else end - SIDE
            heard = self._hear(sound[begin * self.hop : (end - 1) * self.hop + self.field])
            pieces.append(heard[made - begin : until - begin])
            made = until
        pieces.append(pieces[-1][-1:])
        return torch.cat(pieces)

    def _hear(self, sound: Tensor) -> Tensor:
        """One window: samples -> weighted sum [frames,S]."""
        total = None
        weights = iter(self.weights)

        def add(state: Tensor) -> None:
            nonlocal total
            part = next(weights) * state
            total = part if total is None else total.add_(part)

        # What enters each layer, and the end: `output_hidden_states` would keep all, and leaves the last state without
        # its norm in version 5 of transformers, with it in version 4, as here.
        hooks = [
            layer.register_forward_pre_hook(lambda module, inputs: add(inputs[0]))
            for layer in self.network.encoder.layers
        ]
        try:
            add(self.network(sound[None].to(self.device)).last_hidden_state)
        finally:
            for hook in hooks:
                hook.remove()
        return total[0]


def load(source: str | os.PathLike, weights: Tensor) -> Hubert:
    """HuBERT from a local folder (config.json and weights) or a hub name, in float32 on the CPU.

    A hub name is looked up in the cache of huggingface_hub, never downloaded. Raises ModuleNotFoundError without
    transformers, FileNotFoundError without the files, ValueError if they are not those of such a HuBERT; each with one
    line that says what to do.
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
        network, info = transformers.HubertModel.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # a foreign reader: whatever it raises, the files are not what it reads
        raise ValueError(f"{str(folder)!r} holds no HuBERT that transformers can read: {_line(error)}") from error
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()
    if missing := sorted(set(info["missing_keys"]) - {"masked_spec_embed"}):  # that one only trains
        raise ValueError(
            f"HuBERT in {str(folder)!r} lacks {len(missing)} tensors ({missing[0]} ...); download it again"
        )
    return Hubert(network.float().eval(), weights, _normalises(folder))


def find(source: str | os.PathLike) -> Path:
    """The folder of a HuBERT: `source` itself, or the cached copy of that hub name."""
    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(str(source), local_files_only=True))
        except (HFValidationError, LocalEntryNotFoundError) as error:
            raise FileNotFoundError(_absent(source)) from error
    if not (folder / FILES[0]).is_file():
        raise FileNotFoundError(f"{FILES[0]} is not in {str(folder)!r}: {_absent(source)}")
    return folder


def _absent(source: str | os.PathLike) -> str:
    return (
        f"HuBERT is {str(source)!r}, neither a folder nor in the cache of huggingface_hub; download it (1.3 GB, from "
        f"huggingface.co) with: hf download {NAME} {' '.join(FILES)}; or name a folder that holds these files"
    )


def _normalises(folder: Path) -> bool:
    """Whether recordings are levelled for this HuBERT: what the file of its feature extractor says, else yes."""
    path = folder / FILES[1]
    return bool(json.loads(path.read_text(encoding="utf-8")).get("do_normalize", True)) if path.is_file() else True


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
