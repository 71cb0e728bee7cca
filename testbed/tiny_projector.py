"""Write a tiny multimodal projector with random weights, so that real llama.cpp looks at pictures for a tiny model.

It is LLaVA's: a few patches, two small layers, and two matrices into the language model's width. What it sees means
nothing, and every step from the picture's bytes to the model's tokens is the real one.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from testbed import tiny_model
from testbed.cache import cache_dir

SIDE, PATCH = 56, 14
PICTURE_TOKENS = (SIDE // PATCH) ** 2
WIDTH, HEADS, FF, LAYERS = 32, 2, 64, 2  # LLaVA reads all layers but the last
MEAN, SPREAD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def ensure(*, shape: tiny_model.Shape = tiny_model.TINY) -> Path:
    """Return the projector for models of `shape` in the cache, writing it first where it is not there."""
    recipe = f"{Path(__file__).read_text()} {shape.embd}"
    path = cache_dir("models") / f"tiny-projector-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}.gguf"
    return path if path.exists() else write(path, embd=shape.embd)


def write(path: Path, *, embd: int, seed: int = 1) -> Path:
    """Write a projector into a language model that is `embd` wide to `path`, and return it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")  # an interrupted run must not leave half a file
    writer = gguf.GGUFWriter(unfinished, "clip")
    _describe(writer, embd)
    _add_weights(writer, embd, np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unfinished.replace(path)


def _describe(writer: Any, embd: int) -> None:
    writer.add_name("tiny-random-projector")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("mlp")
    writer.add_vision_image_size(SIDE)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_embedding_length(WIDTH)
    writer.add_vision_feed_forward_length(FF)
    writer.add_vision_block_count(LAYERS)
    writer.add_vision_head_count(HEADS)
    writer.add_vision_projection_dim(embd)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean(MEAN)
    writer.add_vision_image_std(SPREAD)
    writer.add_vision_use_gelu(True)


def _add_weights(writer: Any, embd: int, rng: np.random.Generator) -> None:
    def add(tensor: str, *shape: int) -> None:
        drawn = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.1)
        writer.add_tensor(tensor, drawn.astype(np.float16))

    def add_line(tensor: str, length: int, value: float) -> None:
        writer.add_tensor(tensor, np.full(length, value, dtype=np.float32))

    def add_norm(tensor: str) -> None:
        add_line(f"{tensor}.weight", WIDTH, 1.0)
        add_line(f"{tensor}.bias", WIDTH, 0.0)

    def add_linear(tensor: str, rows: int, columns: int) -> None:
        add(f"{tensor}.weight", rows, columns)
        add_line(f"{tensor}.bias", rows, 0.0)

    add("v.patch_embd.weight", WIDTH, 3, PATCH, PATCH)
    add("v.position_embd.weight", PICTURE_TOKENS, WIDTH)
    add_norm("v.pre_ln")
    for layer in range(LAYERS):
        add_norm(f"v.blk.{layer}.ln1")
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            add_linear(f"v.blk.{layer}.{part}", WIDTH, WIDTH)
        add_norm(f"v.blk.{layer}.ln2")
        add_linear(f"v.blk.{layer}.ffn_up", FF, WIDTH)
        add_linear(f"v.blk.{layer}.ffn_down", WIDTH, FF)
    add_linear("mm.0", embd, WIDTH)
    add_linear("mm.2", embd, embd)
