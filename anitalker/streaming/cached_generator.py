"""The motion transformer of one portrait, for windows of speech that are asked for many times a second.

Letters: B windows, n frames to make, p frames before them, L = p + n frames of speech, S speech features, M motion
numbers, W width, rows: a range of frames (first, behind the last).

The same weights and the same mathematics as `MotionGenerator` and `LipRegressor`, within rounding. What the portrait
and the sampler's time decide (norms, gates) is worked out once, convolutions are products, weights lie as the library
wants them, the last layers work on the wanted frames only, and what was heard is not heard again (`Recent`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import POSE_SIZE
from anitalker.motion.generator import MotionGenerator, time_embedding
from anitalker.motion.lip_regressor import LipRegressor
from anitalker.motion.transformer import _rotate, rotary_table
from anitalker.runtime.matmul import onednn_is_faster

Rows = tuple[int, int]
NEAR = 2  # frames on either side that a block's own convolution sees
ROWS = 64  # frames that weights are laid out for; any number will do


class PackedLinear:
    """x [...,K] -> x weight^T + bias [...,N], weight [N,K], with a copy of the weight in oneDNN's own order where that
    is quicker (`products`): for few frames, putting it in order is a fifth to a quarter of the time."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias, self.ordered = weight.detach().contiguous(), bias.detach(), None
        if weight.device.type == "cpu" and weight.dtype == torch.float32 and onednn_is_faster():
            self.ordered = torch.ops.mkldnn._reorder_linear_weight(self.weight, ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        if self.ordered is None:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), self.ordered, self.bias, "none", [], "")


class ConvCache:
    """A stack of convolutions over arriving frames, which sees `reach` frames on either side of one: only the end,
    which more has been heard of since, is made again. Keeps what it made of the last `most` frames."""

    def __init__(self, stack: Callable[[Tensor], Tensor], reach: int, most: int) -> None:
        self.stack, self.reach, self.most = stack, reach, most
        self.kept: Tensor | None = None
        self.end = 0  # behind the last frame of it

    def __call__(self, speech: Tensor, dropped: int, end: int) -> Tensor:
        """Speech [1,n,S] from frame `dropped` on, heard before frame `end` -> [1,min(end,most),W]; end never falls."""
        if end > self.end or self.kept is None:
            fresh = max(0, self.end - self.reach)
            begin = max(dropped, fresh - self.reach)
            made = self.stack(speech[:, begin - dropped : end - dropped])[:, fresh - begin :]
            if fresh:
                made = torch.cat([self.kept[:, : self.kept.shape[1] - (self.end - fresh)], made], 1)
            self.kept, self.end = made[:, -self.most :], end
        return self.kept


@dataclass(frozen=True)
class Norms:
    """What one time of the sampler sets: of each block shift, scale, gate, shift, scale, gate, all [W]; of the end
    shift and scale; scales are to multiply by."""

    blocks: Sequence[tuple[Tensor, ...]]
    end: tuple[Tensor, Tensor]


class CachedGenerator:
    """`MotionGenerator` in evaluation, for one portrait with code start [1,M]; `MotionStream` takes it in its place.
    lips: its regression beside it, if it has one. Free of gradients."""

    @torch.no_grad()
    def __init__(self, network: MotionGenerator, start: Tensor) -> None:
        self.network, self.config = network, network.config
        self.mean, self.std, self.spoken = network.mean, network.std, network.spoken
        self.normalise, self.denormalise = network.normalise, network.denormalise
        self.lips = None if network.lips is None else CachedLipRegressor(network.lips)
        self.own = network.start((start - network.mean) / network.std)
        self.into = PackedLinear(network.speech.into.weight, network.speech.into.bias)
        self.front = [_as_product(layer) for layer in network.speech.layers]
        self.reach = len(self.front)  # frames on either side that `encode_speech` makes of one frame of speech
        self.blocks = [CachedBlock(block) for block in network.blocks]
        self.norms: dict[float, Norms] = {}
        self.rotary = rotary_table(1, self._head, start.device)

    @property
    def _head(self) -> int:
        return self.config.width // self.config.heads

    def _set(self, time: float) -> Norms:
        """Norms and gates at a time of the sampler, kept: a sampler has few."""
        if time not in self.norms:
            condition = F.silu(self.network.time(time_embedding(self.own.new_tensor([time]))) + self.own)[0]
            parts = [block.set(condition).chunk(6) for block in self.network.blocks]
            shift, scale = self.network.set(condition).chunk(2)
            blocks = [(a, 1 + b, c, d, 1 + e, f) for a, b, c, d, e, f in parts]
            self.norms[time] = Norms(blocks, (shift, 1 + scale))
        return self.norms[time]

    def encode_speech(self, speech: Tensor) -> Tensor:
        """As `MotionGenerator.encode_speech`: [B,L,S] -> [B,L,W]."""
        front = self.network.speech
        x = self.into(speech)
        for norm, layer in zip(front.norms, self.front, strict=True):
            x = x + F.gelu(_convolved(norm(x), layer))
        return front.last(x)

    def __call__(
        self,
        noisy: Tensor,
        time: Tensor,
        heard: Tensor,
        start: Tensor,
        previous: Tensor,
        controls: Tensor,
        given: Tensor,
        deaf: Tensor | None = None,
    ) -> Tensor:
        """As `MotionGenerator.forward`, with one time for all, and start as it was at first."""
        x = self.network.enter(noisy, heard, previous, controls, given, deaf)
        return self._through(x, float(time[0]), (previous.shape[1], x.shape[1]))

    def estimate(self, heard: Tensor | None, begin: Tensor, frames: int, rows: Rows) -> Tensor:
        """The mean of all motions of `frames` frames that begin with `begin` [1,1,M] and fit `heard` [1,frames,W].

        heard None: that fit no speech. Normalised, of rows only, [1,rows,M].
        """
        into, size = self.network.into, begin.shape[-1]
        first = F.pad(torch.cat([begin, torch.ones_like(begin[..., :1])], -1), (0, into.in_features - size - 1))
        x = into.bias.expand(1, frames, -1) + (self.network.no_speech if heard is None else heard)
        x[:, :1] += F.linear(first, into.weight)
        return self._through(x, 0.0, rows)

    def _through(self, x: Tensor, time: float, rows: Rows) -> Tensor:
        norms, length = self._set(time), x.shape[1]
        if len(self.rotary[0]) < length:
            self.rotary = rotary_table(length, self._head, x.device)
        rotary = tuple(part[:length] for part in self.rotary)
        for block, values in zip(self.blocks, norms.blocks, strict=True):
            x = block(x, values, rotary, rows if block is self.blocks[-1] else (0, length))
        shift, scale = norms.end
        return self.network.out(F.layer_norm(x, x.shape[-1:], scale, shift))


class CachedBlock:
    """`transformer.Block` in evaluation, of the frames that are wanted."""

    def __init__(self, block: nn.Module) -> None:
        attention, (first, _, _, second) = block.attention, block.mlp
        self.project = Projections(attention.into.weight, attention.into.bias, attention.heads)
        self.out, self.first, self.second = (
            PackedLinear(one.weight, one.bias) for one in (attention.out, first, second)
        )
        self.taps, self.bias = block.near.weight[:, 0].T.contiguous(), block.near.bias  # [2 NEAR + 1,W]

    def __call__(self, x: Tensor, norms: tuple[Tensor, ...], rotary: tuple[Tensor, Tensor], rows: Rows) -> Tensor:
        """x [B,L,W] -> [B,rows,W]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = norms
        y = F.layer_norm(x, x.shape[-1:], scale1, shift1)
        wide = (max(0, rows[0] - NEAR), min(x.shape[1], rows[1] + NEAR))
        q, k, v = self.project(y, wide)
        q, k = _rotate(q, tuple(part[wide[0] : wide[1]] for part in rotary)), _rotate(k, rotary)
        heard = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        x = torch.addcmul(x[:, wide[0] : wide[1]], gate1, self.out(heard))
        y = F.layer_norm(x, x.shape[-1:], scale2, shift2)
        inside = slice(rows[0] - wide[0], rows[1] - wide[0])
        y = (y + self._near(y))[:, inside]
        return torch.addcmul(x[:, inside], gate2, self.second(F.gelu(self.first(y))))

    def _near(self, x: Tensor) -> Tensor:
        """Every number by itself over neighbouring frames, zeros around them: [B,L,W] -> [B,L,W]."""
        padded, made = F.pad(x, (0, 0, NEAR, NEAR)), self.bias
        for k, tap in enumerate(self.taps):
            made = torch.addcmul(made, padded[:, k : k + x.shape[1]], tap)
        return made


class CachedLipRegressor:
    """`LipRegressor` in evaluation; `decode` of the frames that are wanted."""

    @torch.no_grad()
    def __init__(self, network: LipRegressor) -> None:
        self.network = network
        self.into = PackedLinear(network.into[0].weight, network.into[0].bias)
        self.convolutions = [_as_product(layer) for layer in network.convolutions]
        self.reach = sum(
            layer.padding[0] for layer in network.convolutions
        )  # of `encode_speech`, frames on either side
        self.layers = [CachedEncoderLayer(layer) for layer in network.attention]

    def encode_speech(self, speech: Tensor) -> Tensor:
        """Speech [1,L,S] -> what the convolutions make of it [1,L,W]."""
        x = F.gelu(self.into(speech))
        for norm, layer in zip(self.network.norms, self.convolutions, strict=True):
            x = x + F.gelu(_convolved(norm(x), layer))
        return x

    def __call__(self, speech: Tensor) -> Tensor:
        """As `LipRegressor.forward`: [B,L,S] -> [B,L,M]."""
        return self.decode(self.encode_speech(speech), (0, speech.shape[1]))

    def decode(self, heard: Tensor, rows: Rows) -> Tensor:
        """[1,L,W] of `encode_speech` -> normalised motion [1,rows,M]; its pose is zero."""
        for layer in self.layers:
            heard = layer(heard, rows if layer is self.layers[-1] else (0, heard.shape[1]))
        return F.pad(self.network.out(heard), (POSE_SIZE, 0))


class CachedEncoderLayer:
    """torch's encoder layer, norms first, in evaluation, of the frames that are wanted."""

    def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
        own = layer.self_attn
        self.norms = layer.norm1, layer.norm2
        self.project = Projections(own.in_proj_weight, own.in_proj_bias, own.num_heads)
        parts = (own.out_proj, layer.linear1, layer.linear2)
        self.out, self.first, self.second = (PackedLinear(one.weight, one.bias) for one in parts)

    def __call__(self, x: Tensor, rows: Rows) -> Tensor:
        """[B,L,W] -> [B,rows,W]."""
        q, k, v = self.project(self.norms[0](x), rows)
        heard = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        x = x[:, rows[0] : rows[1]] + self.out(heard)
        return x + self.second(F.relu(self.first(self.norms[1](x))))


class Projections:
    """Queries of wanted frames, keys and values of all, from a weight [3 W,W] that holds the three."""

    def __init__(self, weight: Tensor, bias: Tensor, heads: int) -> None:
        width = weight.shape[1]
        self.heads, self.all = heads, PackedLinear(weight, bias)
        self.query, self.rest = PackedLinear(weight[:width], bias[:width]), PackedLinear(weight[width:], bias[width:])

    def __call__(self, x: Tensor, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """x [B,L,W] -> [B,heads,rows,W/heads] and twice [B,heads,L,W/heads]."""
        if rows == (0, x.shape[1]):
            return self.all(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        q = self.query(x[:, rows[0] : rows[1]]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return q, *self.rest(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)


def _as_product(layer: nn.Conv1d) -> PackedLinear:
    """A convolution's weight [N,K,width] as that of a product over its frames' numbers [N,width K]."""
    return PackedLinear(layer.weight.transpose(1, 2).flatten(1), layer.bias)


def _convolved(x: Tensor, layer: PackedLinear) -> Tensor:
    """x [B,L,K], zeros around it -> [B,L,N]."""
    width = layer.weight.shape[1] // x.shape[-1]
    side = width // 2
    return layer(F.pad(x, (0, 0, side, side)).unfold(1, width, 1).transpose(-1, -2).flatten(2))
