"""Whisper in plain PyTorch, with the parameter names of ``transformers.WhisperForConditionalGeneration``.

So CTranslate2's converter takes it as it is. Two heads on the encoder exist only for training: which word sounds in
a frame, and which word came before it. Frames are 20 ms (after the convolutions), mel frames 10 ms.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from tools.small_model.vocabulary import FIRST_TIMESTAMP, TIMESTAMPS, TOKENS, WORDS

MEL_BINS = 80
AUDIO_POSITIONS = 1500
TEXT_POSITIONS = 448
_LONGEST_PERIOD = 10_000
_EMBEDDING_DEVIATION = 0.05
_CONVOLUTION_GAIN = 2.5

_WINDOW_OFFSETS = (-20, -7, 7, 20)
"""Where the heads of the encoder look at first, in frames from the place they look from."""
_SKIPPED_FREQUENCIES = 4
"""The highest frequencies of the positions repeat within a few frames and so mark no neighbourhood."""


@dataclass(frozen=True, slots=True)
class Shape:
    width: int = 128
    heads: int = 4
    feed_forward: int = 512
    encoder_layers: int = 3
    decoder_layers: int = 2

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class Output(NamedTuple):
    """``tokens`` (batch, text, vocabulary); ``attention`` (batch, heads, text, frames) of each decoder layer but the
    first; ``current_word`` and ``previous_word`` (batch, frames, words + 1), where 0 is no word."""

    tokens: Tensor
    attention: list[Tensor]
    current_word: Tensor
    previous_word: Tensor


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's positions: sines in the first half of the channels, cosines in the second."""
    step = math.log(_LONGEST_PERIOD) / (channels // 2 - 1)
    frequencies = torch.exp(-step * torch.arange(channels // 2))
    angles = torch.arange(length).view(-1, 1) * frequencies.view(1, -1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, *, causal: bool = False) -> Tensor:
        query, key, value = self._projections(x, memory)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self._joined(attended)

    def with_weights(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The same without a mask, written out, because the loss needs the attention itself."""
        query, key, value = self._projections(x, memory)
        scores: Tensor = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = scores.float().softmax(-1)
        return self._joined(weights.to(value.dtype) @ value), weights

    def _projections(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._split(self.q_proj(x)), self._split(self.k_proj(memory)), self._split(self.v_proj(memory))

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)

    def _joined(self, x: Tensor) -> Tensor:
        joined: Tensor = self.out_proj(x.transpose(1, 2).flatten(2))
        return joined


class EncoderLayer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.feed_forward)
        self.fc2 = nn.Linear(shape.feed_forward, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.self_attn_layer_norm(x)
        x = x + self.self_attn(normed, normed)
        grown: Tensor = self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))
        return x + grown


class DecoderLayer(nn.Module):
    def __init__(self, shape: Shape, *, supervised: bool) -> None:
        """``supervised``: the attention to the sound is part of the loss, so it must be computed in the open."""
        super().__init__()
        self.supervised = supervised
        self.self_attn = Attention(shape.width, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.encoder_attn = Attention(shape.width, shape.heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.feed_forward)
        self.fc2 = nn.Linear(shape.feed_forward, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor | None]:
        normed = self.self_attn_layer_norm(x)
        x = x + self.self_attn(normed, normed, causal=True)
        normed = self.encoder_attn_layer_norm(x)
        weights = None
        if self.supervised:
            heard, weights = self.encoder_attn.with_weights(normed, memory)
        else:
            heard = self.encoder_attn(normed, memory)
        x = x + heard
        return x + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x)))), weights


class Encoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MEL_BINS, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(AUDIO_POSITIONS, shape.width)
        self.embed_positions.weight.data.copy_(sinusoids(AUDIO_POSITIONS, shape.width))
        self.embed_positions.weight.requires_grad_(False)
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.encoder_layers))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, mel: Tensor) -> Tensor:
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        normed: Tensor = self.layer_norm(x)
        return normed


class Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(len(TOKENS), shape.width)
        self.embed_positions = nn.Embedding(TEXT_POSITIONS, shape.width)
        self.layers = nn.ModuleList(DecoderLayer(shape, supervised=place > 0) for place in range(shape.decoder_layers))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, tokens: Tensor, memory: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.embed_tokens(tokens) + self.embed_positions.weight[: tokens.shape[1]]
        attention = []
        for layer in self.layers:
            x, weights = layer(x, memory)
            if weights is not None:
                attention.append(weights)
        return self.layer_norm(x) @ self.embed_tokens.weight.t(), attention


class EncoderDecoder(nn.Module):
    """The ``model.`` of the parameter names."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)


class SmallWhisper(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = EncoderDecoder(shape)
        self.current_word = nn.Linear(shape.width, len(WORDS) + 1)
        self.previous_word = nn.Linear(shape.width, len(WORDS) + 1)
        self._initialise()

    def forward(self, mel: Tensor, tokens: Tensor) -> Output:
        """``mel`` (batch, 80, even number of mel frames), ``tokens`` (batch, text)."""
        memory = self.model.encoder(mel)
        logits, attention = self.model.decoder(tokens, memory)
        return Output(logits, attention, self.current_word(memory), self.previous_word(memory))

    def grow_decoder(self) -> None:
        """Inserts, before the last decoder layer, one that changes nothing yet and looks where the last one looks."""
        layers = self.model.decoder.layers
        last = layers[-1]
        assert isinstance(last, DecoderLayer)
        layer = DecoderLayer(self.shape, supervised=True)
        for parameter in layer.parameters():
            if parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)
        layer.encoder_attn.q_proj.load_state_dict(last.encoder_attn.q_proj.state_dict())
        layer.encoder_attn.k_proj.load_state_dict(last.encoder_attn.k_proj.state_dict())
        for output in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
        layers.insert(len(layers) - 1, layer)
        self.shape = replace(self.shape, decoder_layers=len(layers))

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2 and "proj" in name:
                nn.init.xavier_uniform_(parameter)
        embeddings = self.model.decoder.embed_tokens.weight.data
        nn.init.normal_(embeddings, std=_EMBEDDING_DEVIATION)
        nn.init.normal_(self.model.decoder.embed_positions.weight, std=_EMBEDDING_DEVIATION)
        # A timestamp token is one encoder frame: both start from the same geometry, which then need not be learnt.
        timestamps = sinusoids(TIMESTAMPS, self.shape.width) * (_EMBEDDING_DEVIATION * 2**0.5)
        embeddings[FIRST_TIMESTAMP : FIRST_TIMESTAMP + TIMESTAMPS] = timestamps
        for layer in self.model.encoder.layers:
            assert isinstance(layer, EncoderLayer)
            _look_nearby(layer.self_attn, self.shape)
        # PyTorch's default leaves the convolutions so quiet that the positions drown what they say.
        for convolution in (self.model.encoder.conv1, self.model.encoder.conv2):
            convolution.weight.data.mul_(_CONVOLUTION_GAIN)


def _look_nearby(attention: Attention, shape: Shape) -> None:
    """Makes each head start as a soft window at its own offset from the place it looks from.

    The product of query and key, in the channels of the positions, becomes a sum of cos(frequency * (query position +
    offset - key position)), which peaks where the key is at the offset.
    """
    half = shape.width // 2
    head_width = shape.width // shape.heads
    frequencies = torch.exp(-math.log(_LONGEST_PERIOD) / (half - 1) * torch.arange(half)).tolist()
    query, key = attention.q_proj.weight.data, attention.k_proj.weight.data
    for head in range(shape.heads):
        offset = _WINDOW_OFFSETS[head % len(_WINDOW_OFFSETS)]
        for pair in range(head_width // 2):
            sine = _SKIPPED_FREQUENCIES + pair
            cosine = half + sine
            angle = frequencies[sine] * offset
            strength = 1.6 * math.exp(-0.5 * (pair / (head_width / 4)) ** 2) + 0.2
            first = head * head_width + 2 * pair
            second = first + 1
            for weights in (query, key):
                weights[first : second + 1] *= 0.3
            key[first, sine] += strength
            key[second, cosine] += strength
            query[first, sine] += strength * math.cos(angle)
            query[first, cosine] += strength * math.sin(angle)
            query[second, cosine] += strength * math.cos(angle)
            query[second, sine] -= strength * math.sin(angle)
