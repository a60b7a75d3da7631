"""Private names of PyTorch change from release to release and from machine to machine: one module knows any."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from sources import ROOT, python_files

KNOWS_PRIVATE_NAMES = {
    "tam_backend/models/cpu_operators.py",
    "tests/models/test_cpu_operators.py",
    "tests/test_private_names.py",  # for examples
}


def private_names(source: str) -> list[str]:
    """Return the private names of PyTorch in a program: its operators by name, and what begins with an underscore."""
    tree = ast.parse(source)
    meant_by = dict(_imported(tree))
    names = set(meant_by.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(_in_full(node, meant_by))
        elif isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            names.add(f"{_in_full(node.args[0], meant_by)}.{node.args[1].value}")  # getattr and its like
        elif isinstance(node, ast.Constant) and re.fullmatch(r"torch(\.\w+)+", str(node.value)):
            names.add(str(node.value))
    return sorted(name for name in names if _is_private(name))


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield local names and what of PyTorch they mean."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield (each.asname or each.name, each.name)
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                yield (each.asname or each.name, f"{node.module}.{each.name}")


def _in_full(node: ast.expr, meant_by: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_in_full(node.value, meant_by)}.{node.attr}"
    return meant_by.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _is_private(name: str) -> bool:
    package, *parts = name.split(".")
    return package == "torch" and (
        parts[:1] == ["ops"] or any(part.startswith("_") and not part.endswith("__") for part in parts)
    )


def test_no_other_file_knows_a_private_name_of_pytorch() -> None:
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in python_files()}
    names = {file: private_names(text) for file, text in texts.items() if "torch" in text}
    found = {file: private for file, private in names.items() if private}
    assert found.keys() == KNOWS_PRIVATE_NAMES, found


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("import torch\ntorch.ops.mkldnn.anything(1)", "torch.ops.mkldnn.anything"),
        ("import torch\nif torch.cpu._is_avx2_supported(): pass", "torch.cpu._is_avx2_supported"),
        ("import torch as t\nt._C._get_privateuse1()", "torch._C"),
        ("from torch import cpu\ncpu._init_amx()", "torch.cpu._init_amx"),
        ("from torch._dynamo import config", "torch._dynamo.config"),
        ("import torch._inductor", "torch._inductor"),
        ("import torch\ngetattr(torch.cpu, '_is_vnni_supported', None)", "torch.cpu._is_vnni_supported"),
        ("def test(monkeypatch): monkeypatch.setattr('torch.cpu._init_amx', None)", "torch.cpu._init_amx"),
        ("def late():\n    from torch.nn import functional as f\n    f._verify_batch_size([])", "verify_batch_size"),
    ],
)
def test_private_names_are_seen_however_they_are_written(program: str, found: str) -> None:
    assert any(found in name for name in private_names(program))


@pytest.mark.parametrize(
    "program",
    [
        "import torch\nprint(torch.__version__, torch.cpu.get_capabilities())",
        "class Mine:\n    def see(self): return self._ops + self.torch._private",
        "from operator import _compare_digest",
        "import torch\ntorch.linspace(0, 1)\nsetattr(print, '_mine', torch)",
    ],
)
def test_public_names_and_private_ones_of_others_are_let_be(program: str) -> None:
    assert private_names(program) == []
