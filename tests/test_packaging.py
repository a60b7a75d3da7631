"""What is promised in several places says the same: dependencies, versions, settings, and the commands of the image."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices

from demo.processes import free_port
from tam_backend import __version__
from tam_backend.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def pyproject_list(key: str) -> list[str]:
    """The strings of a list in pyproject.toml. (Python 3.10 has no tomllib.)"""
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(rf"^{key} = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert listed is not None
    return re.findall(r'^\s*"([^"]+)"', listed.group(1), re.MULTILINE)


def requirement_lines() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def docker_instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return [
        (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
        for line in joined.splitlines()
        if line and not line.startswith("#")
    ]


def values_of(instruction: str) -> list[str]:
    return [value for name, value in docker_instructions() if name == instruction]


def environment_names() -> set[str]:
    names = {f"TAM_{name}".upper() for name in Settings.model_fields}
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names |= {str(choice) for choice in field.validation_alias.choices}
    return names


def test_requirements_txt_lists_what_pyproject_needs() -> None:
    assert sorted(requirement_lines()) == sorted(pyproject_list("dependencies"))


def test_make_and_docker_install_the_same_torch() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in ("TORCH", "TORCHVISION"):
        in_make = re.search(rf"^export {name} \?= (\S+)$", makefile, re.MULTILINE)
        in_docker = re.search(rf"^ARG {name}=(\S+)$", DOCKERFILE, re.MULTILINE)
        in_script = re.search(rf"^{name}=\$\{{{name}:-(\S+)\}}$", (ROOT / "scripts/setup.sh").read_text(), re.MULTILINE)
        assert in_make and in_docker and in_script
        assert in_make.group(1) == in_docker.group(1) == in_script.group(1)


def test_make_and_compose_run_the_same_label_studio() -> None:
    in_make = re.search(r"^export LABEL_STUDIO \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert in_make
    assert COMPOSE["services"]["label-studio"]["image"] == f"heartexlabs/label-studio:{in_make.group(1)}"


def test_changelog_begins_with_the_version_of_the_package() -> None:
    newest = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == __version__


def test_the_metadata_take_their_version_from_the_package() -> None:
    metadata = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in metadata
    assert 'version = { attr = "tam_backend.__version__" }' in metadata
    assert __version__ not in metadata


def test_compose_sets_only_settings_that_exist() -> None:
    assert set(COMPOSE["services"]["backend"]["environment"]) <= environment_names()


def test_compose_gives_both_servers_the_same_token() -> None:
    label_studio = COMPOSE["services"]["label-studio"]["environment"]
    backend = COMPOSE["services"]["backend"]["environment"]
    assert label_studio["LABEL_STUDIO_USER_TOKEN"] == backend["LABEL_STUDIO_API_KEY"]
    assert re.fullmatch(r"\$\{LABEL_STUDIO_API_KEY:-[0-9a-f]{40}\}", backend["LABEL_STUDIO_API_KEY"])


def test_compose_lets_label_studio_call_a_private_address() -> None:
    environment = COMPOSE["services"]["label-studio"]["environment"]
    assert environment["ML_BLOCK_LOCAL_IP"] == "false"
    assert environment["SSRF_PROTECTION_ENABLED"] == "false"


def test_the_gpu_lines_of_compose_are_valid_once_taken_in() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    commented = re.search(r"^    # deploy:\n(?:    # .*\n)+", text, re.MULTILINE)
    assert commented is not None
    taken_in = commented.group(0).replace("    # ", "    ")
    backend = yaml.safe_load(text.replace(commented.group(0), taken_in))["services"]["backend"]
    devices = backend["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_docker_sets_only_settings_that_exist() -> None:
    own = {word.split("=")[0] for value in values_of("ENV") for word in value.split()}
    assert {name for name in own if not name.startswith(("PIP_", "PYTHON"))} <= environment_names()


def test_docker_copies_only_files_that_the_ignore_file_lets_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source.removeprefix("./") for value in values_of("COPY") for source in value.split()[:-1]}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_docker_does_not_run_as_root() -> None:
    order = [name for name, _ in docker_instructions()]
    assert values_of("USER") == ["tam"]
    assert order.index("USER") < order.index("CMD")


def test_every_script_has_valid_syntax() -> None:
    for script in (ROOT / "scripts/setup.sh", ROOT / ".ci/run"):
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
        assert os.access(script, os.X_OK)


def test_an_old_python_is_refused_with_a_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.1";; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts/setup.sh", "backend"],
        env={**os.environ, "PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Python 3.9.1" in done.stderr
    assert "Python 3.10 or newer is needed" in done.stderr


def test_every_setting_is_explained_to_operators() -> None:
    explained = set(re.findall(r"`([A-Z][A-Z_]+)`", (ROOT / "docs/operations.md").read_text()))
    assert environment_names() <= explained


@pytest.mark.e2e
def test_every_run_line_of_the_image_works_in_a_virtual_environment(tmp_path: Path) -> None:
    """What `docker build` would run, in its order, with torch taken from this environment instead of downloaded."""
    build = tmp_path / "app"
    build.mkdir()
    for value in values_of("COPY"):
        *sources, _ = value.split()
        for source in sources:
            place = build / source
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    purelib = next((venv / "lib").glob("python*")) / "site-packages"
    here = Path(next(path for path in sys.path if path.endswith("site-packages")))
    # A plain path: packages are found there, but the editable install of this checkout is not.
    (purelib / "already_downloaded.pth").write_text(f"{here}\n")
    versions = dict(re.findall(r"^ARG (\w+)=(\S*)$", DOCKERFILE, re.MULTILINE))
    ran = []
    for line in values_of("RUN"):
        if line.startswith("useradd"):
            continue  # makes the image's user; nothing of ours in it
        assert line.startswith("pip install "), f"Say in this test how to try: {line}"
        arguments = [re.sub(r"\$\{(\w+)\}", lambda found: versions[found[1]], word) for word in shlex.split(line)[1:]]
        if arguments[-1] == ".":
            arguments.insert(1, "--force-reinstall")  # this environment's editable install would satisfy it
        subprocess.run([venv / "bin/python", "-m", "pip", "-q", *arguments], cwd=build, check=True)
        ran.append(arguments)
    assert len(ran) == 4

    [command] = values_of("CMD")
    port = free_port()
    python, *words = [word.replace("9090", str(port)) for word in yaml.safe_load(command)]
    assert python == "python"
    # With a PYTHONPATH to this checkout, that would run instead of the wheel.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "TAM_DATA_DIR": str(tmp_path / "data"),
        "TAM_PORT": str(port),
    }
    server = subprocess.Popen([venv / "bin/python", *words], cwd=build, env=environment)
    try:
        check = values_of("HEALTHCHECK")[0].split("CMD ", 1)[1].replace("9090", str(port))
        health = [str(venv / "bin/python"), *shlex.split(check)[1:]]
        deadline = time.monotonic() + 120
        while subprocess.run(health, capture_output=True, check=False).returncode:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server never became healthy"
            time.sleep(1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as reply:
            assert reply.status == 200
        program = (
            "import importlib.metadata, tam_backend as t; print(t.__file__, importlib.metadata.version('tam-backend'))"
        )
        installed = subprocess.run(
            [venv / "bin/python", "-c", program],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        where, version = installed.stdout.split()
        assert str(purelib) in where, "the wheel's own copy is what runs"
        assert version == __version__
    finally:
        server.terminate()
        assert server.wait(20) == 0, "SIGTERM ends it cleanly"
