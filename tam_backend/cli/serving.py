"""`serve` and `worker`: what goes on until it is stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from tam_backend.cli.command_line import app
from tam_backend.cli.common import Device, Profile, settings_with


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind; 0.0.0.0 = reachable from other machines.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind.")] = None,
    profile: Profile = None,
    device: Device = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
    workers: Annotated[
        str | None,
        typer.Option(help="1: the networks are in this process. More, or ray: in so many workers of a Ray cluster."),
    ] = None,
) -> None:
    """Serve Label Studio: the same app as `gunicorn _wsgi:app`."""
    from tam_backend.models import zoo
    from tam_backend.server.serve import serve as run

    settings = settings_with(
        {
            "host": host,
            "port": port,
            "profile": profile,
            "device": device,
            "log_level": log_level,
            "workers": workers,
        }
    )
    # Before it says that it serves:
    zoo.require_installed(settings.profile)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    run(settings)


@app.command()
def worker(
    address: Annotated[
        str | None, typer.Option(help="The Ray cluster to join, HOST:PORT of its head; default TAM_RAY_ADDRESS.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="So many workers on this machine.")] = 1,
    profile: Profile = None,
    device: Device = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
) -> None:
    """Lend this machine's GPU, or CPUs, to backends that run with --workers ray on the same cluster and database."""
    from tam_backend.models import zoo
    from tam_backend.server.serve import configure_logging
    from tam_backend.service.parts import worker_in_this_process
    from tam_backend.workers.ray_node import work

    settings = settings_with(
        {"ray_address": address, "profile": profile, "device": device, "log_level": log_level, "workers": "ray"}
    )
    configure_logging(settings.log_level)
    zoo.require_installed(settings.profile)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    work(settings, worker_in_this_process, count)
