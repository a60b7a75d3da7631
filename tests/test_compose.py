"""The Compose file: every address that it gives leads, from where it is used, to the server that is meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from tam_backend.cli import app
from tam_backend.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
# What each server listens on inside of its container.
PORTS = {"label-studio": 8080, "backend": 9090}
# (who is given it, its name) -> (who calls it: "browser" or a service, which server must answer).
USES = {
    ("label-studio", "LABEL_STUDIO_HOST"): ("browser", "label-studio"),
    ("backend", "LABEL_STUDIO_URL"): ("backend", "label-studio"),
    ("backend", "TAM_PUBLIC_URL"): ("browser", "backend"),
    ("backend", "TAM_WEBHOOK_URL"): ("label-studio", "backend"),
    ("backend", "TAM_LABEL_STUDIO_PUBLIC_URL"): ("browser", "label-studio"),
}


def environment(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service]["environment"].items()}


def answers(url: str, caller: str) -> str:
    """Return which service answers a call from a container, or from a browser on the host; "" = none does."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    if caller == "browser":
        published = {
            int(outside): service
            for service, each in SERVICES.items()
            for outside, inside in (mapping.split(":") for mapping in each["ports"])
            if int(inside) == PORTS[service]
        }
        return published.get(port, "") if host in ("localhost", "127.0.0.1") else ""
    if host in ("localhost", "127.0.0.1"):
        host = caller  # a container's own
    return host if PORTS.get(host) == port else ""


def backend_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment("backend").items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize(("given_to", "name"), USES)
def test_every_address_leads_where_it_must_from_where_it_is_used(given_to: str, name: str) -> None:
    caller, meant = USES[given_to, name]
    assert answers(environment(given_to)[name], caller) == meant


def test_no_other_address_is_given() -> None:
    given = {(service, name) for service in SERVICES for name, value in environment(service).items() if "://" in value}
    assert given == set(USES)


def test_what_the_backend_makes_of_them_leads_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = backend_settings(monkeypatch)
    assert answers(settings.own_url, "browser") == "backend", "of frames"
    assert answers(settings.events_url, "label-studio") == "backend"
    assert urlsplit(settings.events_url).path == "/webhook"
    assert answers(settings.connect_url, "label-studio") == "backend", "that people are told to connect"
    assert answers(settings.label_studio_pages, "browser") == "label-studio"
    assert answers(settings.label_studio_url, "backend") == "label-studio"


def test_the_comment_names_the_address_to_connect() -> None:
    named = re.search(r"connect it as (http://\S+?)\)", TEXT)
    assert named is not None
    assert answers(named[1], "label-studio") == "backend"


def test_the_backend_listens_on_the_port_that_is_meant_for_everybody() -> None:
    [command] = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    words = yaml.safe_load(command)
    assert words[:4] == ["python", "-m", "tam_backend", "serve"]
    assert words[words.index("--port") + 1] == str(PORTS["backend"])
    assert words[words.index("--host") + 1] == "0.0.0.0"
    assert CliRunner().invoke(app, [*words[3:], "--help"]).exit_code == 0


def test_a_stop_waits_longer_than_the_server_takes_to_end() -> None:
    grace = SERVICES["backend"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > 10 + 5 + 5, "answers under way, then tracking, then Label Studio's threads"


@pytest.mark.parametrize("given", ["http://b:1", "http://b:1/", "http://b:1/webhook", "http://b:1/webhook/"])
def test_the_address_of_events_may_be_given_with_or_without_its_path(given: str) -> None:
    settings = Settings(webhook_url=given, public_url="http://localhost:2")
    assert settings.events_url == "http://b:1/webhook"
    assert settings.connect_url == "http://b:1"
    assert settings.own_url == "http://localhost:2"


def test_without_addresses_of_their_own_events_and_links_go_to_the_public_ones() -> None:
    settings = Settings(public_url="https://tam.example/x/", label_studio_url="http://ls:8080")
    assert settings.events_url == "https://tam.example/x/webhook"
    assert settings.label_studio_pages == "http://ls:8080"
    assert Settings(host="0.0.0.0", port=5).events_url == "http://localhost:5/webhook"


def test_a_secret_that_can_be_guessed_is_refused_without_being_shown() -> None:
    with pytest.raises(ValidationError, match="shorter than 16 characters") as refusal:
        Settings(secret="hunter2")
    assert "hunter2" not in str(refusal.value)
    assert Settings(secret="h" * 16).secret.get_secret_value() == "h" * 16
