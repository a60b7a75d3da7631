"""`profiles` and `weights fetch`: which networks there are, and their weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from tam_backend.cli.command_line import app, weights_app
from tam_backend.cli.common import console, transfer_bar
from tam_backend.settings import get_settings


@app.command()
def profiles() -> None:
    """List the profiles: what each needs, and what is installed here."""
    from tam_backend.models import zoo

    table = Table("profile", "what it is", "needs", "installed")
    missing: list[str] = []
    for name in zoo.profile_names():
        profile = zoo.profile(name)
        state = profile.installation()
        table.add_row(name, profile.description, profile.needs, "yes" if state.ready else "no")
        if not state.ready:
            missing.append(f"{state.reason} {state.remedy}")
    console = Console()
    console.print(table)
    for line in missing:
        console.print(line, highlight=False, soft_wrap=True)


@weights_app.command()
def fetch(
    profile: Annotated[str, typer.Argument(help="Whose weights; see `tam-backend profiles`.")],
    brought: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE", help="Install this file instead of downloading; may be given again."),
    ] = None,
) -> None:
    """Download the weights of a profile, or install files brought by hand; what arrives is checked first."""
    from tam_backend.models import zoo
    from tam_backend.models.weights_store import WeightsStore

    settings = get_settings()
    chosen = zoo.profile(profile)
    if not chosen.fetched:
        console.print(f"Profile {chosen.name} needs {chosen.needs}.", highlight=False)
        return
    store = WeightsStore(settings.weights_folder, settings.weights_mirrors, settings.offline)
    for path in brought or ():
        with console.status(f"Checking {path} ..."):
            installed = store.take_any(zoo.fetchable(profile), path)
        console.print(f"{path} is installed as {installed}.", highlight=False, soft_wrap=True)
    if brought:
        still = zoo.profile(profile).installation()
        if not still.ready:
            console.print(f"{still.reason} {still.remedy}", highlight=False, soft_wrap=True)
        return
    with transfer_bar() as progress:
        for file in chosen.fetched:
            task = progress.add_task(file.name, total=file.size_bytes)
            if store.is_there(file):
                progress.update(task, description=f"{file.name} (is there)", total=1, completed=1)
            else:
                store.fetch(file, partial(_show, progress, task))
    console.print(f"Profile {chosen.name} is installed in {store.folder}.", highlight=False, soft_wrap=True)


def _show(progress: Progress, task: TaskID, done: int, total: int | None) -> None:
    progress.update(task, completed=done, total=total)
