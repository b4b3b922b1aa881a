"""A checkpoint of the training as a model folder for faster-whisper (CTranslate2, int8 by default).

python -m tools.small_model.export SECOND.pt audioctl/data/small_model
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

from ctranslate2.converters.transformers import WhisperLoader

from tools.small_model.training import load_checkpoint
from tools.small_model.vocabulary import TOKENS, write_sidecars


def export(checkpoint: Path, folder: Path, quantization: str | None) -> None:
    """Writes ``model.bin`` and its sidecars; ``quantization`` as CTranslate2 names it, None for float32."""
    network = load_checkpoint(checkpoint).eval().requires_grad_(False)
    shape = network.shape
    # The parts of transformers.WhisperForConditionalGeneration that CTranslate2's converter looks at.
    whisper = SimpleNamespace(
        model=network.model,
        proj_out=SimpleNamespace(weight=network.model.decoder.embed_tokens.weight, bias=None),
        config=SimpleNamespace(
            encoder_layers=shape.encoder_layers,
            encoder_attention_heads=shape.heads,
            decoder_layers=shape.decoder_layers,
            decoder_attention_heads=shape.heads,
        ),
    )
    specification = WhisperLoader().get_model_spec(whisper)
    specification.register_vocabulary(list(TOKENS))
    specification.validate()
    specification.optimize(quantization=quantization)
    folder.mkdir(parents=True, exist_ok=True)
    specification.save(str(folder))
    last_layer = shape.decoder_layers - 1
    write_sidecars(folder, alignment_heads=[(last_layer, 0), (last_layer, 1)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a checkpoint as a model folder for faster-whisper.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quantization", choices=["int8", "float16", "float32"], default="int8")
    arguments = parser.parse_args()
    quantization = None if arguments.quantization == "float32" else arguments.quantization
    export(arguments.checkpoint, arguments.folder, quantization)
    for path in sorted(arguments.folder.iterdir()):
        print(f"{path.stat().st_size:>10,}  {path}")


if __name__ == "__main__":
    main()
