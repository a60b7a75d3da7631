"""`python serve_colours.py PORT DATA LABEL_STUDIO`: the real server; its networks are stand-ins that follow colours."""

import sys
from pathlib import Path

from colour_models import ColourModels
from fake_backend import make_settings

from tam_backend.engine import TrackAnything
from tam_backend.server.serve import serve

if __name__ == "__main__":
    TrackAnything.load = classmethod(lambda *_, **__: TrackAnything(ColourModels().models()))  # type: ignore[method-assign, assignment]
    port, data, label_studio = sys.argv[1:]
    known = {"label_studio_url": label_studio, "label_studio_api_key": "a" * 40}
    serve(make_settings(Path(data), port=int(port), **known))
