"""Label Studio ML's ways to start: `gunicorn _wsgi:app` and `python _wsgi.py`, with the real backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from annotated_studio import TOKEN, AnnotatedStudio, serving
from exported_discs import CONFIG
from live_servers import REPOSITORY, free_port, gunicorn_command, process, request, wait_for


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "_wsgi.py", *arguments], cwd=REPOSITORY, env=os.environ | environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_options_are_those_that_label_studio_ml_users_know() -> None:
    text = run("--help").stdout
    for option in ("-p PORT", "--port", "--host", "--log-level", "--model-dir", "--check", "--basic-auth-user"):
        assert option in text


def test_check_names_what_cannot_be_loaded(tmp_path: Path) -> None:
    done = run("--check", "--model-dir", str(tmp_path), TAM_DEVICE="cuda:99")
    assert done.returncode == 1
    assert "cannot be loaded on cuda:99" in done.stderr
    assert "Traceback" not in done.stderr


def test_value_that_no_setting_takes_is_refused_with_a_sentence() -> None:
    done = run("--port", "70000")
    assert done.returncode == 1
    assert "less than or equal to 65535" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", ["gunicorn", "python"])
def test_server_answers_at_once_and_gets_ready_in_the_background(how: str, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    command = {
        "gunicorn": gunicorn_command(port, "_wsgi:app"),
        "python": [sys.executable, "_wsgi.py", "-p", str(port), "--log-level", "INFO", "--model-dir", str(tmp_path)],
    }[how]
    with process(command, port, log, TAM_DATA_DIR=str(tmp_path), TAM_DEVICE="cpu"):
        assert request(port, "GET", "/health")[1]["status"] == "UP"
        wait_for(lambda: "loading the networks" not in request(port, "GET", "/")[1], 60, log)
        assert '<span class="state ready">' in request(port, "GET", "/")[1]
        config = '<View><Image name="frames" valueList="$frames"/></View>'
        payload = {"tasks": [{"id": 1, "data": {"frames": []}}], "label_config": config, "project": "1.2", "params": {}}
        assert request(port, "POST", "/predict", payload)[0] in (200, 400)
    assert '"POST /predict' not in log.read_text()
    assert "POST /predict" in log.read_text()


def test_networks_that_learn_do_so_in_a_process_that_is_no_second_server(tmp_path: Path) -> None:
    port, log, data = free_port(), tmp_path / "log", tmp_path / "data"
    command = [sys.executable, "_wsgi.py", "-p", str(port), "--log-level", "INFO", "--model-dir", str(data)]
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as studio:
        access = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": TOKEN}
        with process(command, port, log, TAM_DATA_DIR=str(data), TAM_DEVICE="cpu", **access):
            request(port, "POST", "/setup", {"project": "3.1", "schema": studio.config})
            request(port, "POST", "/webhook", {"action": "START_TRAINING", "project": {"id": 3}})
            wait_for(lambda: "too little to learn from" in str(request(port, "GET", "/jobs")), 60, log)
            holders = list((data / "running").iterdir())
    assert len(holders) == 2, "a file of the server, and one of the process that learnt; of no second server"
