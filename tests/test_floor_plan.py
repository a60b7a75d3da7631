"""The house rules of the design, checked on the imports themselves: a floor imports only floors below it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sources import ROOT, python_files

PACKAGE = ROOT / "tam_backend"

# From the ground up. Rooms that share a tuple share a floor: they import neither each other nor anything above.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "run_lengths", "png"),
    ("types", "settings", "threads", "problems", "server_secret", "out_folder", "fonts"),
    ("export", "video", "effort"),
    ("models", "dataset_in", "planned_tasks"),
    ("labelstudio", "quality"),
    ("tracking",),
    ("adaptation", "store"),
    ("session",),
    ("engine",),
    ("__init__",),  # the package's public face: re-exports the engine
    ("prompt_file", "tracking_run", "importer", "exporter", "submitted_videos"),
    ("dataset_importer", "project_importer"),
    ("jobs", "workers"),
    ("service",),
    ("server", "project_propagation"),
    ("cli",),
    ("label_studio_ml", "__main__"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
KNOWN_AWAY = {
    "dataset_in": {"models", "labelstudio"},
    "labelstudio": {"models", "tracking", "session", "engine"},
    "video": {"models", "labelstudio"},
}
TORCH_ROOMS = {"models", "quality", "tracking", "adaptation", "session", "engine"}
PAYLOAD_ROOMS = {"labelstudio", "service", "server", "label_studio_ml"}
PAYLOAD_KEYS = {
    "from_name",
    "to_name",
    "item_index",
    "keypointlabels",
    "brushlabels",
    "bitmasklabels",
    "rectanglelabels",
    "videorectangle",
    "original_width",
    "model_version",
    "is_positive",
}


@dataclass(frozen=True)
class Import:
    """One imported module as written in `importer`."""

    importer: str
    imported: str
    line: int
    at_module_level: bool
    for_types_only: bool

    def __str__(self) -> str:
        return f"{self.importer} line {self.line} imports {self.imported}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(module: str, path: Path) -> Iterator[Import]:
    def walk(node: ast.AST, module_level: bool, types_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(module, alias.name, child.lineno, module_level, types_only)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{module} line {child.lineno}: imports are written in full here"
                assert child.module is not None
                for alias in child.names:
                    submodule = f"{child.module}.{alias.name}"
                    imported = submodule if submodule in MODULES else child.module
                    yield Import(module, imported, child.lineno, module_level, types_only)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for statement in child.body:
                    yield from walk(ast.Module([statement], []), module_level, True)
            else:
                inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from walk(child, module_level and not inside, types_only)

    yield from walk(ast.parse(path.read_text()), True, False)


IMPORTS = [found for module, path in MODULES.items() for found in imports_of(module, path)]
OWN_IMPORTS = [found for found in IMPORTS if found.imported.split(".")[0] == "tam_backend"]


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(module) for module in MODULES}
    assert rooms <= set(FLOOR_OF), f"Give {sorted(rooms - set(FLOOR_OF))} a floor in FLOORS."


def test_a_room_imports_only_floors_below() -> None:
    upward = [
        str(found)
        for found in OWN_IMPORTS
        if room_of(found.importer) != room_of(found.imported)
        and FLOOR_OF[room_of(found.imported)] >= FLOOR_OF[room_of(found.importer)]
    ]
    assert not upward, "\n".join(upward)


def test_label_studio_json_is_translated_without_networks() -> None:
    wrong = [
        str(found) for found in OWN_IMPORTS if room_of(found.imported) in KNOWN_AWAY.get(room_of(found.importer), ())
    ]
    assert not wrong, "\n".join(wrong)


def test_the_two_trackers_share_what_reads_memories_and_know_nothing_of_each_other() -> None:
    xmem, compact = "tam_backend.models.xmem", "tam_backend.models.compact_tracker"
    shared = "tam_backend.models.memory_reading"
    wrong = [
        str(found)
        for found in OWN_IMPORTS
        for room, others in ((xmem, (compact,)), (compact, (xmem,)), (shared, (xmem, compact)))
        if found.importer.startswith(room) and found.imported.startswith(others)
    ]
    assert not wrong, "\n".join(wrong)


def test_there_is_no_import_cycle() -> None:
    edges: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in OWN_IMPORTS:
        if not found.for_types_only and found.imported != found.importer:
            edges[found.importer].add(found.imported)
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "import cycle: " + " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for imported in sorted(edges.get(module, ())):
                visit(imported, (*trail, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_torch_is_imported_at_module_level_only_where_networks_run() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if found.imported.split(".")[0] in ("torch", "torchvision")
        and found.at_module_level
        and not found.for_types_only
        and room_of(found.importer) not in TORCH_ROOMS
    ]
    assert not wrong, "\n".join(wrong)


def test_label_studio_keys_are_known_only_to_its_rooms() -> None:
    wrong = []
    for module, path in MODULES.items():
        if room_of(module) in PAYLOAD_ROOMS:
            continue
        wrong += [
            f"{module} line {node.lineno} knows {node.value!r}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and node.value in PAYLOAD_KEYS
        ]
    assert not wrong, "\n".join(wrong)


def test_no_two_modules_share_a_file_name() -> None:
    """So that a name in a traceback, an editor's tab or a talk means one file."""
    by_name: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        if not path.name.startswith("__"):
            by_name.setdefault(path.stem, []).append(module)
    shared = {name: modules for name, modules in by_name.items() if len(modules) > 1}
    assert not shared, shared


@pytest.mark.parametrize(
    "page", sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]), ids=lambda page: page.name
)
def test_docs_name_files_that_exist(page: Path) -> None:
    named = set(re.findall(r"`([\w/.]+\.py)", page.read_text()))
    missing = [name for name in named if not any(path.as_posix().endswith(f"/{name}") for path in python_files())]
    assert not missing, missing


def test_every_module_says_why_it_is_there() -> None:
    silent = [module for module, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent, silent


@pytest.fixture(scope="module")
def imported_by_help() -> set[str]:
    """The top-level packages that all verbs' help imports."""
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from tam_backend.cli import app\n"
        "for verb in ([], ['track'], ['serve'], ['import'], ['export'], ['report'], ['adapt']):\n"
        "    result = CliRunner().invoke(app, [*verb, '--help'])\n"
        "    assert result.exit_code == 0, result.output\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.split())


@pytest.mark.parametrize("heavy", ["torch", "cv2", "label_studio_sdk", "supervision"])
def test_help_is_quick_because_nothing_heavy_is_imported(imported_by_help: set[str], heavy: str) -> None:
    assert "typer" in imported_by_help
    assert heavy not in imported_by_help


@pytest.mark.parametrize("module", ["tam_backend", "tam_backend.types", "tam_backend.video", "tam_backend.labelstudio"])
def test_lower_floors_do_without_torch(module: str) -> None:
    program = f"import sys, {module}\nassert 'torch' not in sys.modules\n"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
