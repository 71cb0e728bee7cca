"""Start the router with its guard on, without a change to it: `python -m benchai_liveness llm_router.py`.

The two calls of `guard` that one would write into the file are put in while it is being read: after each class that
starts models, before anybody makes one of it, and before the router starts to serve.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

from .handover import START

CALL = "__import__('benchai_liveness').guard(globals())"


def with_guard(source: str, name: str) -> ast.Module:
    """Return the program with the calls put in; its line numbers stay."""
    tree = ast.parse(source, name)
    body: list[ast.stmt] = []
    for statement in tree.body:
        if _serves(statement):
            body.append(_call(statement))
        body.append(statement)
        if _starts_models(statement):
            body.append(_call(statement))
    tree.body = body if body and _serves(body[-1]) else [*body, *([_call(body[-1])] if body else [])]
    return tree


def run(path: Path) -> None:
    """Run the program at `path` as Python would, guarded."""
    sys.path.insert(0, str(path.parent))
    program = ModuleType("__main__")
    program.__file__ = str(path)
    sys.modules["__main__"] = program
    code = compile(with_guard(path.read_text(encoding="utf-8"), str(path)), str(path), "exec", dont_inherit=True)
    exec(code, program.__dict__)  # noqa: S102 - the program that we were asked to run


def _starts_models(statement: ast.stmt) -> bool:
    is_class = isinstance(statement, ast.ClassDef)
    return is_class and any(getattr(each, "name", None) == START for each in statement.body)  # type: ignore[attr-defined]


def _serves(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in ast.dump(statement.test)


def _call(beside: ast.stmt) -> ast.stmt:
    call = ast.parse(CALL).body[0]
    for node in ast.walk(call):
        ast.copy_location(node, beside)
    return call


def main() -> None:
    """Run the program that is named on the command line, with the arguments that follow it."""
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_file():
        sys.exit("usage: python -m benchai_liveness llm_router.py (a file that starts its own server)")
    del sys.argv[0]
    run(Path(sys.argv[0]).resolve())


if __name__ == "__main__":
    main()
