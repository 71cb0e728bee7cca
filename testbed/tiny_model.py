"""Write a tiny model with random weights that real llama.cpp loads; the same arguments give the same bytes.

The trick: hidden channel 0 is a constant. Every token embedding holds the same positive value there and no layer
writes to it, so a large weight in column 0 of the output matrix makes a token always or never win, whatever the
sampler does. That is how an answer is made endless, empty or garbage. Slowness comes from real size (`embd`,
`layers`, `ff`) or from outside (`docker run --cpus`).
"""

import argparse
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import gguf
import numpy as np

from testbed.cache import cache_dir

Answer = Literal["words", "eos", "nan"]
Matrix = np.ndarray[Any, np.dtype[np.float32]]

UNKNOWN, BEGIN, END_OF_TURN = 0, 1, 4  # positions in SPECIAL
SPECIAL: Final = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
SPACE: Final = "\u2581"  # how sentencepiece writes a space
_TEXT: Final = (
    "the a of to and in is it you that he was for on are with as his they be at one have this from or had by hot "
    "word but what some we can out other were all there when up use your how said an each she which do their time "
    "if will way about many then them write would like so these her long make thing see him two has look more day "
    "could go come did number sound no most people my over know water than call first who may down side been now "
    "find hello world yes ok ping pong"
)
WORDS: Final = _TEXT.split()
CHAT_TEMPLATE: Final = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
ALWAYS, NEVER, CONSTANT = 100.0, -100.0, 3.0  # far beyond what the random part of a logit reaches


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of a model; the default takes 0.3 MB and answers a thousand tokens in a second."""

    embd: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    ff: int = 128
    ctx: int = 131072  # what the model claims; memory is taken only for what the server is told

    def __post_init__(self) -> None:
        if self.embd % self.heads or self.heads % self.kv_heads:
            raise ValueError(f"heads={self.heads} must divide embd={self.embd}, and kv_heads={self.kv_heads} heads")

    @property
    def head(self) -> int:
        return self.embd // self.heads

    @property
    def kv(self) -> int:
        return self.head * self.kv_heads


TINY: Final = Shape()
SLOW: Final = Shape(embd=1024, layers=8, heads=16, kv_heads=4, ff=2816)  # 183 MB, about 100 tokens/s on one core


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    tokens: list[str]
    types: list[int]
    words: list[int]  # ids of whole words: the only tokens ever emitted

    @property
    def scores(self) -> list[float]:
        return [-float(i) if kind == gguf.TokenType.NORMAL else 0.0 for i, kind in enumerate(self.types)]


def write(
    path: Path | str,
    *,
    answer: Answer = "words",
    shape: Shape = TINY,
    name: str = "tiny-random",
    seed: int = 1,
) -> Path:
    """Write the model to `path` and return it.

    `words` never ends by itself; `eos` answers with nothing at once; `nan` has poisoned weights and answers garbage,
    or embeddings without a number in them, with status 200.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")  # an interrupted run must not leave half a model
    vocabulary = _vocabulary()
    writer = gguf.GGUFWriter(unfinished, "llama")
    _describe(writer, shape, vocabulary, name)
    _add_weights(writer, shape, vocabulary, answer, np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unfinished.replace(path)


def ensure(*, answer: Answer = "words", shape: Shape = TINY) -> Path:
    """Return such a model in the cache, writing it first where it is not there; another version is another file."""
    recipe = f"{Path(__file__).read_text()} {answer} {shape}"
    path = cache_dir("models") / f"tiny-{answer}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}.gguf"
    return path if path.exists() else write(path, answer=answer, shape=shape)


def _vocabulary() -> _Vocabulary:
    """Build a vocabulary in which any UTF-8 is legal input and the merges reach every whole word."""
    kinds = gguf.TokenType
    special = dict.fromkeys(SPECIAL, kinds.CONTROL) | {SPECIAL[UNKNOWN]: kinds.UNKNOWN}
    fallback = {f"<0x{byte:02X}>": kinds.BYTE for byte in range(256)}
    letters = [form for code in range(0x21, 0x7F) for form in (chr(code), SPACE + chr(code))]
    prefixes = [SPACE + word[:end] for word in WORDS for end in range(2, len(word) + 1)]
    normal = dict.fromkeys([SPACE, *letters, *prefixes], kinds.NORMAL)
    every = special | fallback | normal
    tokens = list(every)
    return _Vocabulary(tokens, [int(kind) for kind in every.values()], [tokens.index(SPACE + word) for word in WORDS])


def _describe(writer: Any, shape: Shape, vocabulary: _Vocabulary, name: str) -> None:
    writer.add_name(name)
    writer.add_context_length(shape.ctx)
    writer.add_embedding_length(shape.embd)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ff)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary.tokens))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.types)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END_OF_TURN)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_weights(writer: Any, shape: Shape, vocabulary: _Vocabulary, answer: Answer, rng: np.random.Generator) -> None:
    def matrix(rows: int, columns: int, scale: float | None = None) -> Matrix:
        drawn = rng.standard_normal((rows, columns), dtype=np.float32)
        return drawn * np.float32(columns**-0.5 if scale is None else scale)

    def silent(rows: int, columns: int) -> Matrix:
        """Return a matrix that leaves channel 0 alone."""
        drawn = matrix(rows, columns)
        drawn[0, :] = 0
        return drawn

    def add(tensor: str, weights: Matrix) -> None:
        writer.add_tensor(tensor, np.ascontiguousarray(weights.astype(np.float16)))

    def add_norm(tensor: str, value: float = 1.0) -> None:
        writer.add_tensor(tensor, np.full(shape.embd, value, dtype=np.float32))

    embedding = matrix(len(vocabulary.tokens), shape.embd, 1.0)
    embedding[:, 0] = CONSTANT
    add("token_embd.weight", embedding)
    for layer in range(shape.layers):
        add_norm(f"blk.{layer}.attn_norm.weight")
        add(f"blk.{layer}.attn_q.weight", matrix(shape.embd, shape.embd))
        add(f"blk.{layer}.attn_k.weight", matrix(shape.kv, shape.embd))
        add(f"blk.{layer}.attn_v.weight", matrix(shape.kv, shape.embd))
        add(f"blk.{layer}.attn_output.weight", silent(shape.embd, shape.embd))
        add_norm(f"blk.{layer}.ffn_norm.weight")
        add(f"blk.{layer}.ffn_gate.weight", matrix(shape.ff, shape.embd))
        add(f"blk.{layer}.ffn_up.weight", matrix(shape.ff, shape.embd))
        add(f"blk.{layer}.ffn_down.weight", silent(shape.embd, shape.ff))
    add_norm("output_norm.weight", np.nan if answer == "nan" else 1.0)  # what embeddings are made of
    add("output.weight", _steered(matrix(len(vocabulary.tokens), shape.embd, 0.3), vocabulary, answer))


def _steered(output: Matrix, vocabulary: _Vocabulary, answer: Answer) -> Matrix:
    """Let whole words win over all other tokens, then bend that to `answer`."""
    output[:, 0] = NEVER
    output[vocabulary.words, 0] = 0.0
    match answer:
        case "words":
            pass
        case "eos":
            output[END_OF_TURN, :] = 0
            output[END_OF_TURN, 0] = ALWAYS
        case "nan":
            output[:] = np.nan
    return output


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one model as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--answer", choices=get_args(Answer), default="words")
    parser.add_argument("--name", default="tiny-random")
    parser.add_argument("--seed", type=int, default=1)
    sizes = ("embd", "layers", "heads", "kv_heads", "ff", "ctx")
    for size in sizes:
        parser.add_argument(f"--{size.replace('_', '-')}", type=int, default=getattr(TINY, size))
    asked = parser.parse_args(arguments)
    shape = replace(TINY, **{size: getattr(asked, size) for size in sizes})
    written = write(asked.path, answer=asked.answer, shape=shape, name=asked.name, seed=asked.seed)
    print(f"{written}: {written.stat().st_size / 1e6:.2f} MB, answers {asked.answer}")


if __name__ == "__main__":
    main()
