"""What the verbs share: how they speak to people, the settings, and options of the same meaning."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tam_backend.errors import InvalidInputError, printable
from tam_backend.settings import LEAST_ADAPT_MINUTES, MOST_ADAPT_MINUTES, Settings, get_settings, variable_of

if TYPE_CHECKING:
    from types import TracebackType

    from tam_backend.labelstudio.client import LabelStudioClient

# Everything for people goes to stderr; stdout is for what other programs read.
console = Console(stderr=True)

_BY_CTRL_C = 130  # what shells take for it

Profile = Annotated[str | None, typer.Option(help="Networks and weights; see `tam-backend profiles`.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files of the same names in --out that we did not write.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Url = Annotated[str | None, typer.Option(help="Label Studio's address; default LABEL_STUDIO_URL.")]
ApiKey = Annotated[str | None, typer.Option(help="Its access token; default LABEL_STUDIO_API_KEY.")]


def project_number(said: str) -> int:
    """Read a project's number. Raises typer.BadParameter: it is none, such as the project's whole address."""
    text = str(said).strip()
    if text.isascii() and text.isdecimal():
        return int(text)
    inside = re.search(r"/projects/(\d+)", text, re.ASCII)
    hint = f"give the number in the project's address: {inside[1] if inside else 'N of .../projects/N/'}"
    raise typer.BadParameter(f"{text!r} is no project's number; {hint}.")


def minutes_number(said: str) -> float:
    """Read for how long networks may learn, in minutes. Raises typer.BadParameter: it is no number, or out of range."""
    try:
        minutes = float(said)
    except ValueError:
        minutes = math.nan
    if math.isnan(minutes):
        raise typer.BadParameter(f"{said!r} is no number.")
    if not LEAST_ADAPT_MINUTES <= minutes <= MOST_ADAPT_MINUTES:
        raise typer.BadParameter(f"{said} is not from {LEAST_ADAPT_MINUTES} to {MOST_ADAPT_MINUTES} minutes.")
    return minutes


ProjectOption = typer.Option(
    help="Label Studio's project: the number in its address.", parser=project_number, metavar="NUMBER"
)
Project = Annotated[int, ProjectOption]


def say_error(message: str, remedy: str) -> None:
    """Tell what went wrong, and what to do about it."""
    console.print("[bold red]Error:[/]", end=" ")
    for text in filter(None, (message, remedy)):
        console.print(printable(text), highlight=False, soft_wrap=True, markup=False)  # a path may hold [brackets]


def say_note(note: str) -> None:
    """Tell what people should know, though all goes on."""
    console.print("[bold yellow]Note:[/]", end=" ")
    console.print(printable(note), highlight=False, soft_wrap=True, markup=False)


@contextmanager
def told_when_stopped(tell: Callable[[], str]) -> Iterator[None]:
    """Say on Ctrl-C what became of what runs in a `with` block.

    Args:
        tell: returns what was done, what is left, and how to go on; called then.

    Raises:
        typer.Exit: Ctrl-C was pressed, and it is said.
    """
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. {tell()}")
        raise typer.Exit(_BY_CTRL_C) from None


class Counted:
    """How much of what is counted is done: shown on a bar, and known to whoever is told when it is stopped.

    Args:
        progress: shows it.
        what: is done with what is counted.
    """

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress, self._bar = progress, progress.add_task(what, total=None)
        self.done = self.total = 0

    def goes_on(self, done: int, total: int) -> None:
        """Take how much is done, of how much."""
        self.done, self.total = done, total
        self._progress.update(self._bar, completed=done, total=total)


@contextmanager
def steps(what: str) -> Iterator[Callable[[str], None]]:
    """Show what is done at the moment: on a terminal in one line, which changes; in a log, a line for each step.

    Args:
        what: before the first step.

    Yields:
        What takes a step.
    """
    if not console.is_terminal:
        yield say
        return
    with console.status(what) as status:
        yield lambda doing: status.update(escape(printable(doing)))


def say(text: str) -> None:
    """Tell what was done."""
    console.print(printable(text), highlight=False, soft_wrap=True, markup=False)


def settings_with(given: dict[str, object]) -> Settings:
    """Return the environment's settings with what the command line says on top."""
    said = {name: value for name, value in given.items() if value is not None}
    try:
        # Read here, so that a mistake in the environment is told like one on the command line.
        read = get_settings().model_dump()
    except ValidationError as error:
        raise _mistake(error, variable_of) from error
    try:
        return Settings.model_validate({**read, **said})
    except ValidationError as error:
        raise _mistake(error, str) from error


def _mistake(error: ValidationError, named: Callable[[str], str]) -> InvalidInputError:
    """Return the first mistake, told by what people call the setting."""
    first = error.errors(include_url=False)[0]
    name, *inside = map(str, first["loc"] or ("settings",))
    return InvalidInputError(f"{'.'.join((named(name), *inside))}: {first['msg'].rstrip('.')}.")


def label_studio(settings: Settings) -> LabelStudioClient:
    """Return a client of the Label Studio that the settings name. Raises InvalidInputError: they name none."""
    from tam_backend.labelstudio.client import LabelStudioClient

    key = settings.label_studio_api_key.get_secret_value()
    if not settings.label_studio_url or not key:
        raise InvalidInputError(
            "Label Studio's address or access token is not known.",
            "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, or give --url and --api-key.",
        )
    return LabelStudioClient(settings.label_studio_url, key)


class _Bar(Progress):
    """A bar that goes away where an error is told in its place; after Ctrl-C it stays, and shows how far it came."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.transient = isinstance(error, Exception)
        super().__exit__(kind, error, trace)


def progress_bar() -> Progress:
    """Return a bar for things that are counted."""
    return _Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def transfer_bar() -> Progress:
    """Return a bar for bytes."""
    return _Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
