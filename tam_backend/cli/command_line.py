"""The command line's frame: the list of verbs, and how it ends."""

from __future__ import annotations

import sys

import typer

from tam_backend.cli.common import say_error
from tam_backend.errors import TamError

app = typer.Typer(
    name="tam-backend",
    help="Track Anything for Label Studio: one click becomes a mask on every frame.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
weights_app = typer.Typer(help="The weights that do not come with the package.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")


def main() -> None:
    """Run the command line; what a user can cause ends in a sentence, not in a traceback."""
    try:
        app()
    except TamError as error:
        say_error(error.message, error.remedy)
        sys.exit(2)
    except OSError as error:
        say_error(
            f"{error.filename or 'A file'}: {error.strerror or error}.", "Check the path, and who may write there."
        )
        sys.exit(2)
