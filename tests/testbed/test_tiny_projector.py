"""The tiny projector's file; what llama.cpp makes of it is told beside the server's other flags."""

from pathlib import Path

from testbed.tiny_projector import ensure, write


def test_the_same_width_gives_the_same_bytes_and_another_one_another_file(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.gguf", embd=64), write(tmp_path / "two.gguf", embd=64)
    wide = write(tmp_path / "wide.gguf", embd=128)

    assert one.read_bytes() == two.read_bytes()
    assert wide.stat().st_size > one.stat().st_size


def test_one_is_written_once_and_kept() -> None:
    first = ensure()
    written_at = first.stat().st_mtime_ns

    assert ensure() == first
    assert first.stat().st_mtime_ns == written_at
