"""Label Studio ML's convention for starting a backend: `gunicorn _wsgi:app`, or `python _wsgi.py -p 9090`.

    gunicorn --bind :9090 --workers 1 --threads 8 --timeout 0 _wsgi:app

One worker: the networks fill a device once, and the sessions that a correction continues live in its memory. With more
threads than 8, say so in THREADS too, so that more requests may wait for the model.
"""

from __future__ import annotations

import argparse
import atexit
import subprocess
import sys

from tam_backend.errors import TamError
from tam_backend.server.serve import configure_logging, serve
from tam_backend.settings import Settings, get_settings


def main(arguments: list[str] | None = None) -> None:
    """Read the options that users of label-studio-ml know, and serve."""
    parser = argparse.ArgumentParser(description="Track Anything for Label Studio")
    parser.add_argument("-p", "--port", type=int, help="port to bind")
    parser.add_argument("--host", help="address to bind; 0.0.0.0 = reachable from other machines")
    parser.add_argument("-d", "--debug", action="store_true", help="the same as --log-level DEBUG")
    parser.add_argument("--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], help="what is logged")
    parser.add_argument("--model-dir", dest="data_dir", help="where downloads, imported videos and the secret are kept")
    parser.add_argument("--basic-auth-user", help="ask for this user, ...")
    parser.add_argument("--basic-auth-pass", help="... with this password")
    parser.add_argument("--check", action="store_true", help="load the networks once before serving; stop if they fail")
    options = vars(parser.parse_args(arguments))
    check, debug = options.pop("check"), options.pop("debug")
    given = {name: value for name, value in options.items() if value is not None}
    if debug:
        given["log_level"] = "DEBUG"
    try:
        settings = Settings(**given)
        if check:
            _check(settings)
        serve(settings)
    except (TamError, ValueError) as error:
        sys.exit(f"Error: {error}")


def _check(settings: Settings) -> None:
    """Load the networks in a process of its own: once torch has run here, a forked worker could not use it."""
    print(f"Checking {settings.profile} on {settings.device} ...", file=sys.stderr, flush=True)
    program = "import sys; from tam_backend import TrackAnything; TrackAnything.load(*sys.argv[1:])"
    command = [sys.executable, "-c", program, settings.profile, settings.device]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        sys.exit(f"Error: {settings.profile} cannot be loaded on {settings.device}: {reason}")


if __name__ == "__main__":
    main()
else:
    from tam_backend.server.app import create_app

    configure_logging(get_settings().log_level)
    app = create_app()
    # gunicorn's own command line knows nothing of us: what waits to be written is written when the worker ends.
    atexit.register(app.extensions["tam_backend"].close)
