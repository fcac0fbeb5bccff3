"""Log-mel -> phones and visemes, 50 times a second, with a fixed look-ahead.

Letters: B recordings, K mel frames at 100 Hz, J = K / 2 phone frames at 50 Hz, T = J / 2 video frames, V tokens,
A activations, P = 2 V + A numbers per video frame.

Every layer is causal. Output j has heard the mel frames before 2 j + 2 and names the phone of frame j - delay, which is
centred on (j - delay) / 50 s. So the look-ahead is (delay + 1) / 50 s and the 7.5 ms by which the last spectrum reaches
beyond its hop. Speech that is still arriving gets the same numbers as a whole recording.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Phones of English as IPA, in the alphabetical order of ARPAbet, behind silence, which is also the blank of CTC.
ENGLISH = (
    "", "ɑ", "æ", "ʌ", "ɔ", "aʊ", "aɪ", "b", "tʃ", "d", "ð", "ɛ", "ɝ", "eɪ", "f", "ɡ", "h", "ɪ", "i", "dʒ",
    "k", "l", "m", "n", "ŋ", "oʊ", "ɔɪ", "p", "ɹ", "s", "ʃ", "t", "θ", "ʊ", "u", "v", "w", "j", "z", "ʒ",
)  # fmt: skip
OTHERS = ("a", "e", "o", "ə", "y", "ø", "ɾ", "x", "ç", "ɲ", "ɯ", "ʔ", "ts")  # further phones of other languages
TOKENS = ENGLISH + OTHERS
VISEMES = ("sil", "pbm", "fv", "th", "tdnl", "sz", "sh", "kgh", "r", "round", "open", "ae", "iy", "er")
_MEMBERS = {
    "pbm": "p b m", "fv": "f v", "th": "ð θ", "tdnl": "d l n t ɾ ɲ", "sz": "s z ts", "sh": "tʃ dʒ ʃ ʒ ç",
    "kgh": "ɡ h k ŋ x ʔ", "r": "ɹ", "round": "oʊ ʊ u w o y ø", "open": "ɑ ʌ ɔ aʊ aɪ ɔɪ a", "ae": "æ ɛ ə",
    "iy": "eɪ ɪ i j e ɯ", "er": "ɝ",
}  # fmt: skip
VISEME_OF_TOKEN = tuple(
    next((VISEMES.index(name) for name, members in _MEMBERS.items() if token in members.split()), 0) for token in TOKENS
)
PHONES_PER_FRAME = 2  # phone frames per video frame
MEL_PER_PHONE = 2  # mel frames per phone frame
FEW_FRAMES = 16  # of a live piece of speech


@dataclass
class PhoneticState:
    """The last inputs of every convolution [B,channels,n], from which speech that is still arriving goes on."""

    pasts: list[Tensor] = field(default_factory=list)


class CausalConv(nn.Conv1d):
    """A convolution over this frame and those before it. [B,C,T] and the past [B,C,reach] -> [B,N,T / stride]."""

    @property
    def reach(self) -> int:
        """Frames before the first one that it sees."""
        return (self.kernel_size[0] - 1) * self.dilation[0] + 1 - self.stride[0]

    def run(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Output, and the past of the next call; None: silence was before."""
        x = F.pad(x, (self.reach, 0)) if past is None else torch.cat([past, x], -1)
        frames = (x.shape[-1] - self.reach) // self.stride[0]
        output = self._as_product(x, frames) if frames <= FEW_FRAMES and not self.training else self(x)
        return output, x[..., x.shape[-1] - self.reach :]

    def _as_product(self, x: Tensor, frames: int) -> Tensor:
        """The same as a matrix product: for a few frames two to four times as quick as a convolution."""
        (step,), (apart,), (taps,) = self.stride, self.dilation, self.kernel_size
        seen = [x[..., tap * apart : tap * apart + step * (frames - 1) + 1 : step] for tap in range(taps)]
        return F.linear(torch.cat(seen, 1).mT, self.weight.transpose(1, 2).flatten(1), self.bias).mT


class PhoneticBlock(nn.Module):
    """A residual block: norm, dilated causal convolution, GELU, linear layer."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = CausalConv(width, width, 3, dilation=dilation)
        self.out = nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)

    def run(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """[B,J,W] -> [B,J,W], and the past of the next call."""
        y, past = self.convolution.run(self.norm(x).mT, past)
        return x + self.out(self.drop(F.gelu(y).mT)), past


class PhoneticEncoder(nn.Module):
    """The network. delay: phone frames between what it has heard and what it names; see the module.

    width: of every layer; dilations: one block each; activations: A, width of the layer before the tokens; dropout: in
    training. ValueError for a negative delay.
    """

    def __init__(
        self,
        n_mels: int = 80,
        width: int = 256,
        dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8),
        activations: int = 128,
        delay: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if delay < 0:
            raise ValueError(f"delay is {delay}; it must be 0 or more")
        self.delay, self.activations = delay, activations
        self.sizes = {  # the arguments, to make the same network again
            "n_mels": n_mels, "width": width, "dilations": dilations, "activations": activations, "delay": delay,
            "dropout": dropout,
        }  # fmt: skip
        self.into = CausalConv(n_mels, width, 2 * MEL_PER_PHONE, stride=MEL_PER_PHONE)
        self.blocks = nn.ModuleList(PhoneticBlock(width, dilation, dropout) for dilation in dilations)
        self.norm = nn.LayerNorm(width)
        self.narrow = nn.Linear(width, activations)
        self.drop = nn.Dropout(dropout)
        self.tokens = nn.Linear(activations, len(TOKENS))

    @property
    def size(self) -> int:
        """P: numbers per video frame that `describe` returns."""
        return PHONES_PER_FRAME * len(TOKENS) + self.activations

    def forward(self, mel: Tensor, state: PhoneticState | None = None) -> tuple[Tensor, Tensor]:
        """Normalised log-mel [B,K,n_mels], K even -> token logits [B,J,V] and activations [B,J,A].

        state: of the speech before, updated in place; None: there was none.
        """
        pasts = iter(state.pasts) if state is not None and state.pasts else None
        x, past = self.into.run(mel.mT, next(pasts) if pasts else None)
        kept, x = [past], x.mT
        for block in self.blocks:
            x, past = cast(PhoneticBlock, block).run(x, next(pasts) if pasts else None)
            kept.append(past)
        if state is not None:
            state.pasts = kept
        hidden = F.gelu(self.narrow(self.norm(x)))
        return self.tokens(self.drop(hidden)), hidden

    def describe(self, mel: Tensor, state: PhoneticState | None = None) -> Tensor:
        """Normalised log-mel [B,4 T,n_mels] -> [B,T,P]: posteriors of both phone frames, mean activations."""
        logits, hidden = self(mel, state)
        posteriors = logits.softmax(-1).unflatten(1, (-1, PHONES_PER_FRAME)).flatten(2)
        return torch.cat([posteriors, hidden.unflatten(1, (-1, PHONES_PER_FRAME)).mean(2)], -1)
