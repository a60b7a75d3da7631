"""`profiles` and `weights fetch`: which networks there are, and their weights."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from tam_backend.cli.command_line import app, weights_app
from tam_backend.cli.common import console, settings_with, told_when_stopped, transfer_bar

if TYPE_CHECKING:
    from tam_backend.models.kinds import Kind


@app.command()
def profiles() -> None:
    """List the profiles and what they are made of: what each needs, what is installed here, how quick it is."""
    from tam_backend.models import zoo
    from tam_backend.models.kind_registry import segmenter_kinds, tracker_kinds
    from tam_backend.quality.model import is_calibrated

    segmenters, trackers = segmenter_kinds(), tracker_kinds()
    table = Table("profile", "needs", "installed", "quality")
    missing: list[str] = []
    for name in zoo.profile_names():
        profile = zoo.profile(name)
        state = profile.installation()
        judged = "calibrated" if is_calibrated(name) else "not calibrated"
        table.add_row(name, profile.needs, "yes" if state.ready else "no", judged)
        if not state.ready:
            missing.append(f"{state.reason} {state.remedy}")
    console = Console()
    console.print(table)
    for line in missing:
        console.print(line, highlight=False, soft_wrap=True)
    console.print("\nEvery segmenter goes with every tracker: SEGMENTER+TRACKER; a name that is both may stand alone.")
    console.print(_kinds_table("segmenter", segmenters.by_name.values()))
    console.print(_kinds_table("tracker", trackers.by_name.values()))
    for name, reason in (*segmenters.refused.items(), *trackers.refused.items()):
        console.print(f"The plug-in {name} cannot be had: {reason}", highlight=False, soft_wrap=True, style="yellow")


def _kinds_table(sort: str, kinds: Iterable[Kind]) -> Table:
    from tam_backend.models.zoo import needs

    table = Table(sort, "what it is", "needs", "how quick", "license of its weights")
    for kind in kinds:
        table.add_row(kind.name, kind.description, needs(kind), kind.speed, kind.license)
    return table


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

    settings = settings_with({})
    chosen = zoo.profile(profile)
    if not chosen.fetched:
        console.print(f"Profile {chosen.name} needs {chosen.needs}.", highlight=False)
        return
    for part in chosen.parts:
        if part.kind.package is not None:
            part.kind.package.require()  # it checks what arrives: better before a long download than after
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
    with (
        told_when_stopped(lambda: "What has arrived is kept: the same command goes on from there."),
        transfer_bar() as progress,
    ):
        for file in chosen.fetched:
            task = progress.add_task(file.name, total=file.size_bytes)
            if store.is_there(file):
                progress.update(task, description=f"{file.name} (is there)", total=1, completed=1)
            else:
                store.fetch(file, partial(_show, progress, task))
    console.print(f"Profile {chosen.name} is installed in {store.folder}.", highlight=False, soft_wrap=True)


def _show(progress: Progress, task: TaskID, done: int, total: int | None) -> None:
    progress.update(task, completed=done, total=total)
