"""Trains the small model on one CPU core, for a given time.

    python -m tools.small_model.training FIRST.pt --seconds 2400
    python -m tools.small_model.training SECOND.pt --seconds 1800 --continue-from FIRST.pt --grow-decoder

What makes it learn within the hour: attention is told where each word sounds, the encoder is told which word it
hears, most windows are short, and the matrices of the layers are trained with Muon.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from tools.small_model.corpus import Corpus, make_noise, speak_corpus
from tools.small_model.network import Output, Shape, SmallWhisper
from tools.small_model.recipe import FIRST_PHASE, LONGEST_WINDOW_FRAMES, OVERFULL, SECOND_PHASE, Recipe
from tools.small_model.synthesis import Synthesizer
from tools.small_model.vocabulary import FIRST_TIMESTAMP, FIRST_WORD, WORDS
from tools.small_model.windows import IGNORED, Batch, WindowMaker

_ALIGNMENT_HEADS = 2
"""The first two heads of a supervised decoder layer look where the word sounds."""
_SECONDS_BETWEEN_REPORTS = 30
_SECONDS_BETWEEN_CHECKPOINTS = 120
_WARM_UP_STEPS = 100


def save_checkpoint(network: SmallWhisper, path: Path) -> None:
    torch.save({"shape": network.shape.as_dict(), "parameters": network.state_dict()}, path)


def load_checkpoint(path: Path) -> SmallWhisper:
    stored = torch.load(path)
    network = SmallWhisper(Shape(**stored["shape"]))
    network.load_state_dict(stored["parameters"])
    return network


def draw_batch(windows: WindowMaker, recipe: Recipe, source: np.random.Generator, progress: float) -> Batch:
    """A batch as the recipe wants it at ``progress`` (0 to 1); its size keeps the sound in it about the same."""
    if progress >= recipe.long_windows_from and source.random() < recipe.long_window_share:
        frames, size = LONGEST_WINDOW_FRAMES, 3
        full_share, least_fill = recipe.full_share_of_long_windows, 0.03
    else:
        frames = 2 * int(source.integers(100, recipe.longest_short_window(progress) // 2))
        size = max(4, (4500 if progress < 0.15 else 7000) // frames)
        full_share, least_fill = 0.1, 0.3
    with_prompts = progress >= recipe.prompts_from and source.random() < recipe.prompt_share
    fills = (OVERFULL if source.random() < full_share else source.uniform(least_fill, 1) for _ in range(size))
    return windows.batch(frames, fills, with_prompts=with_prompts)


def losses(output: Output, batch: Batch) -> dict[str, Tensor]:
    """``token``: the next token; ``look``: attention where the word sounds; ``current`` and ``previous``: the word
    of each frame and the one before it."""
    token = functional.cross_entropy(output.tokens.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)
    *earlier_looks, look = (_look_loss(attention, batch) for attention in output.attention)
    for earlier_look in earlier_looks:
        look = look + 0.4 * earlier_look
    current = functional.cross_entropy(output.current_word.flatten(0, 1), batch.current_words.flatten())
    sounding = batch.current_words > 0
    if sounding.any():
        previous = functional.cross_entropy(output.previous_word[sounding], batch.previous_words[sounding])
    else:
        previous = output.tokens.sum() * 0
    return {"token": token, "look": look, "current": current, "previous": previous}


def _look_loss(attention: Tensor, batch: Batch) -> Tensor:
    mass = (attention[:, :_ALIGNMENT_HEADS].float().mean(1) * batch.looks).sum(-1)
    return -((mass + 1e-5).log() * batch.has_look).sum() / (batch.has_look.sum() + 1e-5)


def total_loss(parts: dict[str, Tensor], word_target_weight: float) -> Tensor:
    word_targets = parts["current"] + 0.5 * parts["previous"]
    return parts["token"] + 0.3 * parts["look"] + word_target_weight * word_targets


class Trainer:
    """A network, its two optimizers and the batches it learns from."""

    def __init__(
        self, network: SmallWhisper, windows: WindowMaker, recipe: Recipe, source: np.random.Generator
    ) -> None:
        self._network = network
        self._windows = windows
        self._recipe = recipe
        self._source = source
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                (matrices if ".layers." in name and parameter.dim() == 2 else others).append(parameter)
        self._adam = torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
        self._muon = torch.optim.Muon(
            matrices, lr=recipe.matrix_learning_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
        )
        self.steps = 0

    def step(self, progress: float) -> dict[str, float]:
        """One step at ``progress`` (0 to 1) of the time; returns what there is to report."""
        rate = min(1.0, (self.steps + 1) / _WARM_UP_STEPS) * min(1.0, (1 - progress) / 0.7 + 0.005)
        self._adam.param_groups[0]["lr"] = self._recipe.learning_rate * rate
        self._muon.param_groups[0]["lr"] = self._recipe.matrix_learning_rate * rate
        batch = draw_batch(self._windows, self._recipe, self._source, progress)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = self._network(batch.features, batch.tokens)
        output = Output(
            output.tokens.float(), output.attention, output.current_word.float(), output.previous_word.float()
        )
        parts = losses(output, batch)
        self._adam.zero_grad()
        self._muon.zero_grad()
        total = total_loss(parts, self._recipe.word_target_weight(progress))
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._adam.step()
        self._muon.step()  # type: ignore[no-untyped-call]
        self.steps += 1
        return {name: loss.item() for name, loss in parts.items()} | _shares_right(output, batch)


def _shares_right(output: Output, batch: Batch) -> dict[str, float]:
    """Of the words and of the timestamps in the batch, the share that was foretold; nan where there are none."""
    right = output.tokens.argmax(-1) == batch.targets
    words = (batch.targets >= FIRST_WORD) & (batch.targets < FIRST_WORD + len(WORDS))
    timestamps = batch.targets >= FIRST_TIMESTAMP
    return {"words right": float(right[words].float().mean()), "times right": float(right[timestamps].float().mean())}


def train(trainer: Trainer, seconds: float, save: Callable[[], None]) -> None:
    """Trains for ``seconds``; calls ``save`` every two minutes and at the end."""
    start = last_report = last_save = time.monotonic()
    reports: list[dict[str, float]] = []
    while (now := time.monotonic()) < start + seconds:
        reports.append(trainer.step((now - start) / seconds))
        if now - last_report > _SECONDS_BETWEEN_REPORTS:
            means = {name: np.nanmean([report[name] for report in reports]) for name in reports[0]}
            words = "  ".join(f"{name} {mean:.3f}" for name, mean in means.items())
            print(f"{now - start:5.0f} s  step {trainer.steps}  {words}", flush=True)
            reports.clear()
            last_report = now
        if now - last_save > _SECONDS_BETWEEN_CHECKPOINTS:
            save()
            last_save = now
    save()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the small model, first or second phase.")
    parser.add_argument("checkpoint", type=Path, help="written every two minutes and at the end")
    parser.add_argument("--seconds", type=float, default=2400, help="how long to train (default: 2400)")
    parser.add_argument("--continue-from", type=Path, metavar="CHECKPOINT", help="second phase, from this one")
    parser.add_argument("--grow-decoder", action="store_true", help="give the continued model one layer more")
    parser.add_argument("--phrases", type=int, default=30_000, help="size of the corpus (default: 30000)")
    parser.add_argument("--corpus", type=Path, help="keep the corpus in this .npz file, or take it from there")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default: 1)")
    arguments = parser.parse_args()
    if arguments.grow_decoder and not arguments.continue_from:
        parser.error("--grow-decoder needs --continue-from")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    source = np.random.default_rng(arguments.seed)

    if arguments.corpus and arguments.corpus.exists():
        corpus = Corpus.load(arguments.corpus)
    else:
        corpus = speak_corpus(Synthesizer(), arguments.seed, arguments.phrases)
        if arguments.corpus:
            corpus.save(arguments.corpus)
    print(f"{len(corpus.is_german)} phrases, {corpus.duration_seconds:.0f} s of speech", flush=True)

    recipe = SECOND_PHASE if arguments.continue_from else FIRST_PHASE
    network = load_checkpoint(arguments.continue_from) if arguments.continue_from else SmallWhisper(Shape())
    if arguments.grow_decoder:
        network.grow_decoder()
    windows = WindowMaker(corpus, make_noise(source), recipe, source)
    trainer = Trainer(network, windows, recipe, source)
    train(trainer, arguments.seconds, lambda: save_checkpoint(network, arguments.checkpoint))
    print(f"{trainer.steps} steps; wrote {arguments.checkpoint}")


if __name__ == "__main__":
    main()
