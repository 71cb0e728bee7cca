"""Who may import whom: the core stays pure, edges stay apart, and what is copied or called in a hurry stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "supervisor"
CORE = sorted((PACKAGE / "core").glob("*.py"))
EDGES = ("probes", "engines", "publish", "history")
MODULES = sorted(PACKAGE.rglob("*.py"))

# Value types only: no clock, no loop, no chance, no system, no log.
CORE_MAY_IMPORT = {"collections.abc", "dataclasses", "datetime", "enum", "math", "re", "statistics", "typing"}
NOT_VALUES = {"now", "utcnow", "today", "open", "print", "input", "exec", "eval", "__import__"}
MAX_LINES = 400
MAX_LINES_OF = {"supervisor/client.py": 860}  # one file to copy cannot be two
WRITTEN_BY_HAND = ("supervisor", "tests", "testbed", "examples", "integrations", "bench", "scripts")
# Neither may a program that is called in a hurry wait for these.
SLOW = {
    "asyncio",
    "docker",
    "httpx",
    "loguru",
    "pydantic",
    "pydantic_settings",
    "starlette",
    "uvicorn",
    "apscheduler",
    "rich",
}


def name(path: Path) -> str:
    """Return a module's dotted name."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Yield what a module imports, anywhere in it: `a.b` for `import a.b`, `a.b` too for `from a.b import c`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            assert node.module is not None
            # `from supervisor import build` imports a module, and is no worse than `import supervisor.build`.
            yield from (f"supervisor.{alias.name}" for alias in node.names if node.module == "supervisor")
            yield node.module


def importers_of(library: str) -> set[str]:
    """Return the modules of ours that import a library."""
    return {name(path) for path in MODULES if library in {each.partition(".")[0] for each in imports(path)}}


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_imports_itself_and_value_types(path: Path) -> None:
    strange = {each for each in imports(path) if each not in CORE_MAY_IMPORT}

    assert {each for each in strange if not each.startswith("supervisor.core.")} == set()


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_asks_for_no_time_and_touches_nothing(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    called = {node.func.attr for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    called |= {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    waiting = [node for node in nodes if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.Global | ast.Nonlocal)]

    assert called & NOT_VALUES == set()
    assert waiting == []


@pytest.mark.parametrize("edge", EDGES)
def test_edges_do_not_import_one_another_nor_what_joins_them(edge: str) -> None:
    allowed = ("supervisor.core", "supervisor.errors", "supervisor.own_thread", f"supervisor.{edge}", "supervisor.__")
    paths = sorted((PACKAGE / edge).rglob("*.py"))

    ours = {each for path in paths for each in imports(path) if each.startswith("supervisor.")}

    assert paths
    assert {each for each in ours if not each.startswith(allowed)} == set()


@pytest.mark.parametrize(
    ("library", "where"),
    [
        ("apscheduler", {"supervisor.schedule"}),
        ("pydantic_settings", {"supervisor.settings", "supervisor.settings_file"}),
        ("uvicorn", {"supervisor.publish.server"}),
        ("rich", {"supervisor.cli.screen"}),
    ],
)
def test_a_library_is_used_in_its_own_place(library: str, where: set[str]) -> None:
    assert importers_of(library) == where


def test_the_database_is_used_by_the_history_alone() -> None:
    assert {each for each in importers_of("sqlite3") if not each.startswith("supervisor.history")} == set()


@pytest.mark.parametrize("library", ["docker", "psutil", "dbus_fast"])
def test_only_engines_talk_to_what_runs_targets(library: str) -> None:
    users = importers_of(library)

    assert users
    assert {each for each in users if not each.startswith("supervisor.engines.")} == set()


def test_settings_are_not_known_beyond_what_builds_and_starts() -> None:
    users = {name(path) for path in MODULES if "supervisor.settings" in imports(path)}

    own = {f"supervisor.settings_{part}" for part in ("check", "difference", "file", "labels", "rules", "words")}
    users = {each for each in users if not each.startswith(("supervisor.doctor.", "supervisor.cli.commands.doctor"))}
    assert users - own == {
        "supervisor.build",
        "supervisor.daemon",
        "supervisor.discovery",
        "supervisor.fleet",
        "supervisor.reload",
        "supervisor.supervisord",
    }


def test_the_client_is_one_file_on_the_standard_library_alone() -> None:
    imported = {each.partition(".")[0] for each in imports(PACKAGE / "client.py")}

    assert imported - set(sys.stdlib_module_names) == set()


def loaded_by(statement: str) -> set[str]:
    """Return the modules that are in memory after a statement, in a fresh interpreter."""
    command = [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return {each.partition(".")[0] for each in ran.stdout.split()}


@pytest.mark.parametrize(
    ("module", "libraries"),
    [
        ("supervisor.client", set()),
        ("supervisor.cli.status_table", set()),
        ("supervisor.cli.http", set()),
        ("supervisor.cli.program", {"click"}),
        ("supervisor.cli.commands.status", {"click"}),
    ],
)
def test_what_is_called_in_a_hurry_loads_next_to_nothing(module: str, libraries: set[str]) -> None:
    bare = loaded_by("pass")

    loaded = loaded_by(f"import {module}") - bare

    assert loaded & SLOW == set()
    assert loaded - set(sys.stdlib_module_names) == {"supervisor", *libraries}


def test_the_command_line_needs_no_more_of_us_than_the_core() -> None:
    ours = {
        each for path in (PACKAGE / "cli").rglob("*.py") for each in imports(path) if each.startswith("supervisor.")
    }

    allowed = (
        "supervisor.cli",
        "supervisor.command_line",
        "supervisor.core",
        "supervisor.doctor",
        "supervisor.errors",
        "supervisor.install",
        "supervisor.once",
        "supervisor.settings",
        "supervisor.__",
    )
    assert {each for each in ours if not each.startswith(allowed)} == set()


def test_no_file_holds_more_than_one_can_read() -> None:
    paths = [path for folder in WRITTEN_BY_HAND for path in (REPOSITORY / folder).rglob("*.py")]

    lengths = {str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines()) for path in paths}

    assert len(lengths) > 50
    assert {path: length for path, length in lengths.items() if length > MAX_LINES_OF.get(path, MAX_LINES)} == {}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()

    assert not text or ast.get_docstring(ast.parse(text))
