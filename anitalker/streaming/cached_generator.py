"""The motion transformer for one portrait, faster for windows of speech that are asked for many times a second.

Letters: B windows, n frames to generate, p frames before them, L = p + n frames of speech, S speech features, M motion
numbers, W width. A frame range is (first, behind the last).

Same weights and same mathematics as `MotionGenerator` and `LipRegressor`; results are equal within rounding. It is
faster because norms and gates, which depend on the portrait and the sampler's time only, are computed once;
convolutions are matrix products; weights are stored in oneDNN's order; the last layers compute the wanted frames only;
and encoded speech is kept (`ConvCache`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anitalker.config import POSE_SIZE
from anitalker.motion.generator import MotionGenerator, time_embedding
from anitalker.motion.lip_regressor import LipRegressor
from anitalker.motion.transformer import Block, apply_rotary, rotary_table

FrameRange = tuple[int, int]
Rotary = tuple[Tensor, Tensor]  # cos and sin
CONV_RADIUS = 2  # frames on either side that a block's depthwise convolution sees


class FrozenLinear:
    """A linear layer without gradients: x [...,K] -> x weight^T + bias [...,N], weight [N,K]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight.detach().contiguous(), bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """x [...,K] -> [...,N]."""
        return F.linear(x, self.weight, self.bias)


class ConvCache:
    """Keeps the output of a stack of convolutions for the last `max_frames` of arriving frames.

    The stack sees `radius` frames on either side of a frame. So only the last frames, after which more frames have
    arrived, are computed again.
    """

    def __init__(self, stack: Callable[[Tensor], Tensor], radius: int, max_frames: int) -> None:
        self.stack, self.radius, self.max_frames = stack, radius, max_frames
        self.output: Tensor | None = None
        self.end = 0  # behind the last frame of `output`

    def __call__(self, speech: Tensor, dropped: int, end: int) -> Tensor:
        """Encode speech [1,n,S], which begins at frame `dropped`, up to frame `end` -> [1,min(end,max_frames),W].

        `end` must not decrease from call to call.
        """
        if end > self.end or self.output is None:
            first = max(0, self.end - self.radius)  # of the frames to compute
            begin = max(dropped, first - self.radius)
            output = self.stack(speech[:, begin - dropped : end - dropped])[:, first - begin :]
            if first and self.output is not None:
                output = torch.cat([self.output[:, : self.output.shape[1] - (self.end - first)], output], 1)
            self.output, self.end = output[:, -self.max_frames :], end
        return self.output


@dataclass(frozen=True)
class Modulation:
    """What the condition sets at one sampler time. blocks: shift, scale, gate, shift, scale, gate of each block, [W]
    each; final: shift and scale of the last norm. Scales are multiplied directly (1 is already added)."""

    blocks: Sequence[tuple[Tensor, ...]]
    final: tuple[Tensor, Tensor]


class CachedGenerator:
    """`MotionGenerator` in evaluation mode, without gradients, for one portrait with code `start` [1,M].

    `MotionStream` accepts it in place of the network. lips: the regressor, likewise cached, if the network has one.
    """

    @torch.no_grad()
    def __init__(self, network: MotionGenerator, start: Tensor) -> None:
        self.network, self.config = network, network.config
        self.mean, self.std, self.spoken = network.mean, network.std, network.spoken
        self.normalise, self.denormalise = network.normalise, network.denormalise
        self.lips = None if network.lips is None else CachedLipRegressor(network.lips)
        self.start_embedding = network.start((start - network.mean) / network.std)
        self.input_layer = FrozenLinear(network.speech.into.weight, network.speech.into.bias)
        self.speech_layers = [_as_linear(layer) for layer in network.speech.layers]
        self.radius = len(self.speech_layers)  # frames on either side of a frame that `encode_speech` sees
        self.blocks = [CachedBlock(cast(Block, block)) for block in network.blocks]
        self.modulations: dict[float, Modulation] = {}  # by sampler time
        self.rotary = rotary_table(1, self._head_size, start.device)

    @property
    def _head_size(self) -> int:
        return self.config.width // self.config.heads

    def _modulation(self, time: float) -> Modulation:
        """Norms and gates at a sampler time; kept, because a sampler has few times."""
        if time not in self.modulations:
            embedding = self.network.time(time_embedding(self.start_embedding.new_tensor([time])))
            condition = F.silu(embedding + self.start_embedding)[0]
            block_values = [cast(Block, block).set(condition).chunk(6) for block in self.network.blocks]
            shift, scale = self.network.set(condition).chunk(2)
            blocks = [(a, 1 + b, c, d, 1 + e, f) for a, b, c, d, e, f in block_values]
            self.modulations[time] = Modulation(blocks, (shift, 1 + scale))
        return self.modulations[time]

    def encode_speech(self, speech: Tensor) -> Tensor:
        """As `MotionGenerator.encode_speech`: [B,L,S] -> [B,L,W]."""
        encoder = self.network.speech
        x = self.input_layer(speech)
        for norm, layer in zip(encoder.norms, self.speech_layers, strict=True):
            x = x + F.gelu(_convolve(norm(x), layer))
        return encoder.last(x)

    def __call__(
        self,
        noisy: Tensor,
        time: Tensor,
        encoded_speech: Tensor,
        start: Tensor,
        previous: Tensor,
        controls: Tensor,
        control_mask: Tensor,
        drop_speech: Tensor | None = None,
    ) -> Tensor:
        """As `MotionGenerator.forward`; `time` is the same for all, and `start` is the constructor's."""
        x = self.network.embed(noisy, encoded_speech, previous, controls, control_mask, drop_speech)
        return self._run_blocks(x, float(time[0]), (previous.shape[1], x.shape[1]))

    def estimate(self, encoded_speech: Tensor | None, begin: Tensor, length: int, frames: FrameRange) -> Tensor:
        """The mean of all motions of `length` frames that begin with `begin` [1,1,M] and fit the speech.

        encoded_speech [1,length,W]; None: the mean without speech. Returns the frame range, normalised, [1,frames,M].
        """
        layer, size = self.network.into, begin.shape[-1]
        first = F.pad(torch.cat([begin, torch.ones_like(begin[..., :1])], -1), (0, layer.in_features - size - 1))
        speech = self.network.no_speech if encoded_speech is None else encoded_speech
        x = layer.bias.expand(1, length, -1) + speech
        x[:, :1] += F.linear(first, layer.weight)
        return self._run_blocks(x, 0.0, frames)

    def _run_blocks(self, x: Tensor, time: float, frames: FrameRange) -> Tensor:
        modulation, length = self._modulation(time), x.shape[1]
        if len(self.rotary[0]) < length:
            self.rotary = rotary_table(length, self._head_size, x.device)
        rotary = self.rotary[0][:length], self.rotary[1][:length]
        for block, values in zip(self.blocks, modulation.blocks, strict=True):
            x = block(x, values, rotary, frames if block is self.blocks[-1] else (0, length))
        shift, scale = modulation.final
        return self.network.out(F.layer_norm(x, x.shape[-1:], scale, shift))


class CachedBlock:
    """`transformer.Block` in evaluation mode, for a range of frames."""

    def __init__(self, block: Block) -> None:
        attention, (first, _, _, second) = block.attention, block.mlp
        self.project = Projections(attention.into.weight, attention.into.bias, attention.heads)
        layers = [cast(nn.Linear, layer) for layer in (attention.out, first, second)]
        self.out, self.first, self.second = (FrozenLinear(layer.weight, layer.bias) for layer in layers)
        self.taps = block.near.weight[:, 0].T.contiguous()  # [2 CONV_RADIUS + 1,W]
        self.bias = cast(Tensor, block.near.bias)

    def __call__(self, x: Tensor, modulation: tuple[Tensor, ...], rotary: Rotary, frames: FrameRange) -> Tensor:
        """x [B,L,W] -> [B,frames,W]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation
        y = F.layer_norm(x, x.shape[-1:], scale1, shift1)
        begin, end = max(0, frames[0] - CONV_RADIUS), min(x.shape[1], frames[1] + CONV_RADIUS)
        q, k, v = self.project(y, (begin, end))
        q, k = apply_rotary(q, (rotary[0][begin:end], rotary[1][begin:end])), apply_rotary(k, rotary)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        x = torch.addcmul(x[:, begin:end], gate1, self.out(attended))
        y = F.layer_norm(x, x.shape[-1:], scale2, shift2)
        inside = slice(frames[0] - begin, frames[1] - begin)
        y = (y + self._convolve_depthwise(y))[:, inside]
        return torch.addcmul(x[:, inside], gate2, self.second(F.gelu(self.first(y))))

    def _convolve_depthwise(self, x: Tensor) -> Tensor:
        """The block's depthwise convolution over frames, zero-padded: [B,L,W] -> [B,L,W]."""
        padded, y = F.pad(x, (0, 0, CONV_RADIUS, CONV_RADIUS)), self.bias
        for k, tap in enumerate(self.taps):
            y = torch.addcmul(y, padded[:, k : k + x.shape[1]], tap)
        return y


class CachedLipRegressor:
    """`LipRegressor` in evaluation mode, in two steps: `encode_speech`, and `decode` of a range of frames."""

    @torch.no_grad()
    def __init__(self, network: LipRegressor) -> None:
        self.network = network
        input_layer = cast(nn.Linear, network.into[0])
        self.input_layer = FrozenLinear(input_layer.weight, input_layer.bias)
        convolutions = [cast(nn.Conv1d, layer) for layer in network.convolutions]
        self.convolutions = [_as_linear(layer) for layer in convolutions]
        # Frames on either side of a frame that `encode_speech` sees.
        self.radius = sum(int(layer.padding[0]) for layer in convolutions)
        self.layers = [CachedEncoderLayer(cast(nn.TransformerEncoderLayer, layer)) for layer in network.attention]

    def encode_speech(self, speech: Tensor) -> Tensor:
        """Speech [1,L,S] -> output of the convolutions [1,L,W]."""
        x = F.gelu(self.input_layer(speech))
        for norm, layer in zip(self.network.norms, self.convolutions, strict=True):
            x = x + F.gelu(_convolve(norm(x), layer))
        return x

    def __call__(self, speech: Tensor) -> Tensor:
        """As `LipRegressor.forward`: [B,L,S] -> [B,L,M]."""
        return self.decode(self.encode_speech(speech), (0, speech.shape[1]))

    def decode(self, encoded_speech: Tensor, frames: FrameRange) -> Tensor:
        """Output of `encode_speech` [1,L,W] -> normalised motion [1,frames,M], whose pose is zero."""
        x = encoded_speech
        for layer in self.layers:
            x = layer(x, frames if layer is self.layers[-1] else (0, x.shape[1]))
        return F.pad(self.network.out(x), (POSE_SIZE, 0))


class CachedEncoderLayer:
    """torch's TransformerEncoderLayer (norm first, ReLU) in evaluation mode, for a range of frames."""

    def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
        attention = layer.self_attn
        self.norms = layer.norm1, layer.norm2
        self.project = Projections(attention.in_proj_weight, attention.in_proj_bias, attention.num_heads)
        layers = (attention.out_proj, layer.linear1, layer.linear2)
        self.out, self.first, self.second = (FrozenLinear(linear.weight, linear.bias) for linear in layers)

    def __call__(self, x: Tensor, frames: FrameRange) -> Tensor:
        """[B,L,W] -> [B,frames,W]."""
        q, k, v = self.project(self.norms[0](x), frames)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        x = x[:, frames[0] : frames[1]] + self.out(attended)
        return x + self.second(F.relu(self.first(self.norms[1](x))))


class Projections:
    """Queries of a range of frames, keys and values of all frames, from a joint weight [3 W,W]."""

    def __init__(self, weight: Tensor, bias: Tensor, heads: int) -> None:
        width = weight.shape[1]
        self.heads, self.joint = heads, FrozenLinear(weight, bias)
        self.query = FrozenLinear(weight[:width], bias[:width])
        self.key_value = FrozenLinear(weight[width:], bias[width:])

    def __call__(self, x: Tensor, frames: FrameRange) -> tuple[Tensor, Tensor, Tensor]:
        """x [B,L,W] -> queries [B,heads,frames,W/heads], keys and values [B,heads,L,W/heads]."""
        if frames == (0, x.shape[1]):
            q, k, v = self.joint(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            return q, k, v
        q = self.query(x[:, frames[0] : frames[1]]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v


def _as_linear(layer: nn.Module) -> FrozenLinear:
    """A convolution over frames, weight [N,K,width], as a linear layer over neighbouring frames, weight [N,width K]."""
    convolution = cast(nn.Conv1d, layer)
    return FrozenLinear(convolution.weight.transpose(1, 2).flatten(1), cast(Tensor, convolution.bias))


def _convolve(x: Tensor, layer: FrozenLinear) -> Tensor:
    """Apply a convolution as a linear layer to x [B,L,K], zero-padded -> [B,L,N]."""
    width = layer.weight.shape[1] // x.shape[-1]
    side = width // 2
    return layer(F.pad(x, (0, 0, side, side)).unfold(1, width, 1).transpose(-1, -2).flatten(2))
