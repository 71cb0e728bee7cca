"""The tiny model's file."""

from pathlib import Path

import pytest

from testbed.tiny_model import Shape, main, write


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.gguf"), write(tmp_path / "two.gguf")

    assert one.read_bytes() == two.read_bytes()


def test_another_seed_gives_another_model_of_the_same_size(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.gguf", seed=1), write(tmp_path / "two.gguf", seed=2)

    assert one.read_bytes() != two.read_bytes()
    assert one.stat().st_size == two.stat().st_size


def test_a_shape_whose_heads_do_not_divide_it_is_refused() -> None:
    with pytest.raises(ValueError, match="heads=3"):
        Shape(heads=3)


def test_the_command_line_takes_the_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path / "wide.gguf"), "--embd", "128", "--answer", "eos"])

    assert (tmp_path / "wide.gguf").stat().st_size > write(tmp_path / "tiny.gguf").stat().st_size
    assert "answers eos" in capsys.readouterr().out
