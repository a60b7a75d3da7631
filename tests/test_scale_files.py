"""The files for many machines: what they name exists, and every part of them fits the others."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from test_packaging import environment_names
from typer.testing import CliRunner

from demo.processes import free_port
from tam_backend.cli import app
from tam_backend.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE_TEXT = (ROOT / "docker-compose.scale.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_TEXT)["services"]
OURS = ("ray", "replica", "worker")
NGINX = (ROOT / "deploy/nginx.conf").read_text()
NGINX_PROGRAM = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
KUBERNETES = ROOT / "deploy/kubernetes"
MANIFESTS: list[dict[str, Any]] = [
    manifest
    for path in sorted(KUBERNETES.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for manifest in yaml.safe_load_all(path.read_text())
]
# Of other programs: boto's, Ray's and PostgreSQL's.
FOREIGN_NAMES = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "POSTGRES_PASSWORD"}
PORTS = {"label-studio": 8080, "proxy": 9090, "replica": 9090, "ray": 6379, "postgres": 5432}


def commands_in(text: str) -> Iterator[list[str]]:
    """The commands of a line for the shell."""
    for command in re.split(r"&&|;|\|", text):
        words = shlex.split(command, comments=True)
        yield words[1:] if words[:1] == ["exec"] else words


def check_command(words: list[str]) -> None:
    """Every option of one of our commands, or of `ray start`, is one that the program has."""
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    if words[0] == "tam-backend":
        helped = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
        assert helped.exit_code == 0, words
        assert options <= set(re.findall(r"--[\w-]+", helped.output)), words
    elif words[:2] == ["ray", "start"]:
        scripts = pytest.importorskip("ray.scripts.scripts")
        known = {name for parameter in scripts.start.params for name in parameter.opts}
        assert options <= known, words
    else:
        assert words[0] in {"ray", "pg_isready"}, words


def words_of(command: list[str]) -> Iterator[list[str]]:
    """The commands of a container: itself, or those that it gives the shell."""
    if command[:2] == ["sh", "-c"]:
        yield from commands_in(command[2].replace("$$", "$"))
    else:
        yield command


def test_every_command_that_the_text_tells_to_type_exists() -> None:
    typed = re.findall(r"^ {4}((?:tam-backend|ray) .+)$", (ROOT / "docs/scale.md").read_text(), re.MULTILINE)
    assert {line.split()[0] for line in typed} == {"tam-backend", "ray"}
    for line in typed:
        check_command(shlex.split(line))


# Compose


def test_compose_starts_two_replicas_and_two_workers_of_one_image() -> None:
    assert [SERVICES[name]["deploy"]["replicas"] for name in ("replica", "worker")] == [2, 2]
    assert len({SERVICES[name]["image"] for name in OURS}) == 1
    assert {"postgres", "proxy", "label-studio", *OURS} == set(SERVICES)


def test_compose_builds_the_image_with_extras_that_exist() -> None:
    extras = SERVICES["replica"]["build"]["args"]["EXTRAS"].split(",")
    assert "ARG EXTRAS=" in (ROOT / "Dockerfile").read_text()
    for extra in extras:
        assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE), extra


@pytest.mark.parametrize("name", OURS)
def test_compose_sets_only_settings_that_exist_and_the_same_for_all(name: str) -> None:
    assert set(SERVICES[name]["environment"]) <= environment_names() | FOREIGN_NAMES
    shared = SERVICES["replica"]["environment"]
    assert {key: value for key, value in SERVICES[name]["environment"].items() if key in shared} == shared


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_compose_exists(name: str) -> None:
    for words in words_of(SERVICES[name]["command"]):
        check_command(words)


def test_nothing_is_waited_for_or_mounted_that_is_not_there() -> None:
    volumes = yaml.safe_load(COMPOSE_TEXT)["volumes"]
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", [])) <= set(SERVICES), name
        for needed, how in dict.fromkeys(service.get("depends_on", [])).items():
            condition = service["depends_on"][needed] if isinstance(service["depends_on"], dict) else how
            assert condition is None or "healthcheck" in SERVICES[needed], f"{name} waits until {needed} is healthy"
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in volumes or source == "./videos" or (ROOT / source).exists(), mount


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TAM_RAY_ADDRESS", "ray"),
        ("TAM_DATABASE_URL", "postgres"),
        ("LABEL_STUDIO_URL", "label-studio"),
        ("TAM_WEBHOOK_URL", "proxy"),
    ],
)
def test_every_address_inside_of_the_network_leads_where_it_must(name: str, meant: str) -> None:
    value = re.sub(r"\$\{[^}]*\}", "x", SERVICES["replica"]["environment"][name])
    parts = urlsplit(value if "://" in value else f"tcp://{value}")
    assert (parts.hostname, parts.port or PORTS["postgres"]) == (meant, PORTS[meant])


@pytest.mark.parametrize(
    ("name", "meant"), [("TAM_PUBLIC_URL", "proxy"), ("TAM_LABEL_STUDIO_PUBLIC_URL", "label-studio")]
)
def test_every_address_for_browsers_leads_to_a_port_of_this_machine(name: str, meant: str) -> None:
    parts = urlsplit(SERVICES["replica"]["environment"][name])
    published = [mapping.split(":") for mapping in SERVICES[meant]["ports"]]
    assert parts.hostname == "localhost"
    assert [str(parts.port), str(PORTS[meant])] in published


def test_only_the_proxy_and_label_studio_can_be_reached_from_outside() -> None:
    assert {name for name, service in SERVICES.items() if service.get("ports")} == {"proxy", "label-studio"}


def test_no_secret_has_a_value_that_everybody_knows() -> None:
    for name in ("TAM_SECRET", "RAY_AUTH_TOKEN", "TAM_DATABASE_PASSWORD"):
        assert set(re.findall(rf"\$\{{{name}([^}}]*)\}}", COMPOSE_TEXT)) == {":?see docs/scale.md"}


def test_both_compose_files_run_the_same_label_studio() -> None:
    single = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["label-studio"]
    assert SERVICES["label-studio"] == single


def test_the_image_has_the_shared_folder_that_the_store_needs() -> None:
    store = SERVICES["replica"]["environment"]["TAM_MEDIA_STORE"]
    assert Settings(media_store=store).media_store == store
    [made] = re.findall(r"install -d -o tam (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert store in made.split(), "a folder that is not there is not made by us"
    assert "shared:/shared" in SERVICES["replica"]["volumes"]


# The proxy


def test_the_proxy_is_at_least_as_patient_and_generous_as_what_is_behind_it() -> None:
    assert f"client_max_body_size {Settings().max_payload_mb:g}m;" in NGINX
    [patience_s] = re.findall(r"proxy_read_timeout (\d+)s;", NGINX)
    assert int(patience_s) > 100, "Label Studio's own"
    [replica] = re.findall(r"set \$replicas (\S+);", NGINX)
    assert replica == f"replica:{PORTS['replica']}"
    assert f"listen {PORTS['proxy']};" in NGINX


@contextmanager
def answering(name: str, status: int = 200) -> Iterator[tuple[int, list[str]]]:
    """A server that tells its name, with the requests that it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(f"{self.command} {self.path} {len(body)}")
            if status == 0:
                self.close_connection = True  # killed in the middle of a request
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps([name, self.headers["X-Forwarded-Proto"]]).encode())

        do_GET = do_POST  # noqa: N815 - the name is the library's

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


@contextmanager
def proxy(folder: Path, ports: list[int]) -> Iterator[str]:
    """Run the real nginx with our configuration, on a free port, before servers on these ports."""
    port = free_port()
    servers = "".join(f"server 127.0.0.1:{each} max_fails=0;" for each in ports)  # as for names that are looked up
    user = "user root; " if os.getuid() == 0 else ""  # else nginx's own could not write into the tests' folder
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    text = (
        NGINX.replace("listen 9090;", f"listen 127.0.0.1:{port};")
        .replace("set $replicas replica:9090;", "set $replicas replicas_here;")
        .replace("http {", f"http {{ {places} upstream replicas_here {{ {servers} }}", 1)
        .replace("/tmp/nginx.pid", f"{folder}/nginx.pid")
        .replace("worker_processes auto;", f"{user}worker_processes 1; daemon off;")
    )
    (folder / "nginx.conf").write_text(text)
    command = [NGINX_PROGRAM or "nginx", "-p", folder, "-c"]
    tested = subprocess.run([*command, folder / "nginx.conf", "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    running = subprocess.Popen([*command, folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(urllib.error.URLError), urllib.request.urlopen(f"http://127.0.0.1:{port}/up", timeout=5):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(20)


needs_nginx = pytest.mark.skipif(NGINX_PROGRAM is None, reason="nginx is not installed here")


@needs_nginx
def test_the_real_nginx_alternates_and_passes_over_a_replica_that_is_gone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        (one, asked_one), (two, asked_two) = (stack.enter_context(answering(name)) for name in ("one", "two"))
        address = stack.enter_context(proxy(tmp_path, [one, two, free_port()]))
        body = bytes(3 << 20)  # more than nginx takes by itself
        names = []
        for _ in range(6):
            with urllib.request.urlopen(f"{address}/predict?x=1", body, timeout=10) as reply:
                names.append(json.load(reply))
        assert {name for name, _ in names} == {"one", "two"} and {scheme for _, scheme in names} == {"http"}
        assert set(itertools.chain(asked_one, asked_two)) == {"GET /up 0", f"POST /predict?x=1 {len(body)}"}


@needs_nginx
def test_the_real_nginx_sends_no_click_twice(tmp_path: Path) -> None:
    with answering("dying", status=0) as (dying, asked), answering("other") as (other, asked_other):
        with proxy(tmp_path, [dying, other]) as address:
            statuses = [requests.post(f"{address}/predict", b"a click", timeout=10).status_code for _ in range(4)]
        clicks = [each for each in asked + asked_other if each.startswith("POST")]
        assert len(clicks) == 4 and 502 in statuses


# Kubernetes


def named(kind: str, name: str) -> dict[str, Any]:
    [found] = [each for each in MANIFESTS if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, specification) of everything that becomes a pod."""
    for manifest in MANIFESTS:
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]
        elif manifest["kind"] == "RayCluster":
            yield manifest["metadata"]["name"], manifest["spec"]["headGroupSpec"]["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods():
        for container in pod["containers"]:
            yield name, container


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_every_manifest_is_what_kubernetes_takes(manifest: dict[str, Any]) -> None:
    if manifest["apiVersion"] == "ray.io/v1":
        assert manifest["kind"] == "RayCluster"
        assert set(manifest["spec"]) <= {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
        assert set(manifest["spec"]["headGroupSpec"]) == {"rayStartParams", "template"}
        head = manifest["spec"]["headGroupSpec"]
        assert all(isinstance(value, str) for value in head["rayStartParams"].values()), "KubeRay takes texts only"
        check_command(["ray", "start", *(f"--{name}" for name in head["rayStartParams"])])
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "head"}, "spec": head["template"]["spec"]}
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(manifest, validate.latest_version(), strict=True)


def test_kustomization_names_every_file() -> None:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    assert set(kustomization["resources"]) == {path.name for path in KUBERNETES.iterdir()} - {"kustomization.yaml"}
    assert kustomization["namespace"] == named("Namespace", "tam")["metadata"]["name"]
    images = {container["image"] for _, container in containers() if "postgres" not in container["image"]}
    assert images == {image["name"] for image in kustomization["images"]}


def test_selectors_and_ports_meet_what_they_are_meant_for() -> None:
    templates = [each["spec"]["template"] for each in MANIFESTS if each["kind"] in ("Deployment", "StatefulSet")]
    for manifest in MANIFESTS:
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            labels = manifest["spec"]["template"]["metadata"]["labels"]
            assert manifest["spec"]["selector"]["matchLabels"] == labels
        if manifest["kind"] == "Service":
            wanted = manifest["spec"]["selector"].items()
            [meant] = [each["spec"] for each in templates if wanted <= each["metadata"]["labels"].items()]
            names = {port["name"] for container in meant["containers"] for port in container["ports"]}
            assert {port["targetPort"] for port in manifest["spec"]["ports"]} <= names
    assert named("StatefulSet", "tam-postgres")["spec"]["serviceName"] == "tam-postgres"
    [policy] = [each for each in MANIFESTS if each["kind"] == "NetworkPolicy"]
    cluster = named("RayCluster", policy["spec"]["podSelector"]["matchLabels"]["ray.io/cluster"])
    assert (
        f"{cluster['metadata']['name']}-head-svc:6379" == named("ConfigMap", "tam-settings")["data"]["TAM_RAY_ADDRESS"]
    )


@pytest.mark.parametrize(("name", "container"), list(containers()), ids=[name for name, _ in containers()])
def test_containers_get_only_what_is_there(name: str, container: dict[str, Any]) -> None:
    for source in container.get("envFrom", []):
        [(kind, reference)] = source.items()
        assert named({"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind], reference["name"])
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        assert reference is None or reference["key"] in named("Secret", reference["name"])["stringData"]
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in (container.get("readinessProbe", {}), container.get("livenessProbe", {})):
        assert probe.get("httpGet", {"port": "http"})["port"] in ports | {"http"}
        if "exec" in probe:
            check_command(probe["exec"]["command"])
    pod = dict(pods())[name]
    known = {volume["name"] for volume in pod.get("volumes", [])}
    if name == "tam-postgres":
        known |= {each["metadata"]["name"] for each in named("StatefulSet", name)["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container.get("volumeMounts", [])} <= known
    command = [*container.get("command", []), *container.get("args", [])]
    for words in words_of(command) if command else ():
        check_command(words)


def test_kubernetes_sets_only_settings_that_exist() -> None:
    given = {**named("ConfigMap", "tam-settings")["data"], **named("Secret", "tam-secrets")["stringData"]}
    own = [each["name"] for _, container in containers() for each in container.get("env", [])]
    assert set(given) <= environment_names() | FOREIGN_NAMES
    assert {name for name in own if name.startswith("TAM_")} <= environment_names()
    assert all(isinstance(value, str) for value in given.values())
    assert all(
        value == "change-me" or "change-me" in value for value in named("Secret", "tam-secrets")["stringData"].values()
    )


def test_replicas_are_ready_when_they_say_so() -> None:
    [replica] = [container for name, container in containers() if name == "tam-replica"]
    assert (replica["readinessProbe"]["httpGet"]["path"], replica["livenessProbe"]["httpGet"]["path"]) == (
        "/ready",
        "/health",
    )
