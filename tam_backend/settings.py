"""The one settings object, read from the environment; the only global state of the package.

Every name has the prefix ``TAM_``; the names that Label Studio ML users know (BASIC_AUTH_USER, MODEL_DIR,
LABEL_STUDIO_URL, ...) work too.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _known_as(name: str) -> AliasChoices:
    return AliasChoices(f"TAM_{name}", name)


# Below, an object has no cell of its own left; above, one frame takes the memory of a whole video.
MIN_TRACKER_SIDE, MAX_TRACKER_SIDE = 96, 2160

LEAST_ADAPT_MINUTES, MOST_ADAPT_MINUTES = 0.05, 1440

_PREFIX = "TAM_"
_SECRET_CHARS = 16


class Settings(BaseSettings):
    """What an operator can set. `Settings()` reads the environment; keyword arguments override it."""

    # A message about a password or a secret must not show it.
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, populate_by_name=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False
    )

    profile: str = Field("compact", description="which segmenter, tracker and weights")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    model_threads: int = Field(0, ge=0, description="CPU threads of the networks; 0 = all cores")
    tracker_side: int | None = Field(
        None,
        ge=MIN_TRACKER_SIDE,
        le=MAX_TRACKER_SIDE,
        description="shorter side of tracked frames, pixels; default: the profile's, 480",
    )
    refine: bool | None = Field(
        None, description="whether the segmenter refines doubtful masks; default: as the profile does, compact does not"
    )
    workers: str = Field(
        "1", description="1: the networks are in this process; ray, ray:N or N: in workers of Ray, started so many"
    )
    ray_address: str = Field("", description="of the Ray cluster to join; default: one on this machine alone")
    worker_cpus: float = Field(0, ge=0, description="CPUs of each worker of Ray; 0 = TAM_MODEL_THREADS, or 4")
    worker_gpus: float | None = Field(
        None, ge=0, description="GPUs of each worker of Ray, or a part of one; default 1 where there are GPUs"
    )
    data_dir: Path = Field(
        Path("~/.local/share/tam_backend"),
        validation_alias=AliasChoices("TAM_DATA_DIR", "MODEL_DIR"),
        description="downloads, the register of imported videos, the signing secret",
    )
    secret: SecretStr = Field(
        SecretStr(""),
        description="signs addresses, seals kept tokens; one for all backends on a database; default in data_dir",
    )
    database_url: str = Field(
        "", description="where all that outlives a restart is kept, SQLite or PostgreSQL; default a file in data_dir"
    )
    lease_s: float = Field(
        30, ge=2, description="how long a process that says nothing keeps its jobs and sessions from others, seconds"
    )
    keep_sessions_days: float = Field(90, gt=0, description="sessions that nobody worked on for so long are dropped")
    weights_dir: Path | None = Field(None, description="weights that were fetched; default data_dir/weights")
    weights_mirrors: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="addresses of folders to fetch weights from before their official addresses; comma separated"
    )
    offline: bool = Field(False, description="never fetch weights from anywhere")
    log_level: str = Field("INFO", validation_alias=_known_as("LOG_LEVEL"))

    host: str = Field("127.0.0.1", description="address that `tam-backend serve` binds")
    port: int = Field(9090, ge=0, le=65535, validation_alias=AliasChoices("TAM_PORT", "PORT"))
    http_threads: int = Field(8, ge=2, validation_alias=AliasChoices("TAM_HTTP_THREADS", "THREADS"))
    public_url: str = Field(
        "", description="how browsers reach this server; frame URLs begin with it; default http://host:port"
    )
    webhook_url: str = Field(
        "", description="how Label Studio's server reaches this one, for its events; default TAM_PUBLIC_URL"
    )
    basic_auth_user: str = Field("", validation_alias=_known_as("BASIC_AUTH_USER"))
    basic_auth_pass: SecretStr = Field(SecretStr(""), validation_alias=_known_as("BASIC_AUTH_PASS"))
    max_payload_mb: float = Field(256, gt=0, description="largest request body")
    body_timeout_s: float = Field(30, gt=0, description="longest wait for a request body to arrive")

    label_studio_url: str = Field(
        "", validation_alias=AliasChoices("TAM_LABEL_STUDIO_URL", "LABEL_STUDIO_URL", "LABEL_STUDIO_HOST")
    )
    label_studio_public_url: str = Field(
        "", description="how browsers reach Label Studio, for links to its pages; default LABEL_STUDIO_URL"
    )
    label_studio_api_key: SecretStr = Field(SecretStr(""), validation_alias=_known_as("LABEL_STUDIO_API_KEY"))

    propagate_label: str = Field("Propagate", description="the label whose prompts mean: track all objects")
    prompt_from: str = Field(
        "",
        description="what a Propagate begins with where humans clicked nothing: `predictions` of others, or a tag's "
        "name; tamPromptFrom in a labeling config says it for its project",
    )
    polygon_tolerance_px: float = Field(
        1.0, ge=0, le=50, description="how far polygons may leave the outlines of their masks, pixels of the frame"
    )
    time_budget_s: float = Field(60, gt=0, le=95, description="of one /predict; Label Studio gives up after 100 s")
    draft_wait_s: float = Field(
        7, ge=0, le=30, description="how long a Propagate waits for the draft that has all that was drawn before it"
    )
    adapt: Literal["off", "asked", "auto"] = Field(
        "asked",
        description="whether a server's networks learn from a project: never; on Start training; by themselves too",
    )
    adapt_after: int = Field(3, ge=2, description="with TAM_ADAPT=auto: after so many newly submitted videos")
    adapt_minutes: float = Field(
        10,
        ge=LEAST_ADAPT_MINUTES,
        le=MOST_ADAPT_MINUTES,
        description="how long the networks may learn at a time, minutes",
    )
    adapt_iterations: int = Field(600, ge=1, description="how many steps each network learns at most, at a time")
    max_sessions: int = Field(16, ge=1, description="tasks whose propagation is kept to be continued")
    max_waiting: int = Field(16, ge=1, description="requests that may wait for the model")

    media_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="hosts besides Label Studio's and our own that task media may come from; comma separated"
    )
    media_dirs: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="local folders that task media (file paths, file://) may come from; comma separated"
    )
    media_max_mb: float = Field(4096, gt=0, description="largest video or image to download")
    media_timeout_s: float = Field(20, gt=0, description="longest wait for one download, of a video or of one frame")
    media_store: str = Field(
        "",
        description="where imported videos are put for all machines: a shared folder, or s3://bucket/prefix; "
        "default: they stay where they are",
    )
    cache_mb: float | None = Field(
        None, gt=0, description="room for downloaded media in data_dir; default 4 times TAM_MEDIA_MAX_MB"
    )

    @field_validator("media_hosts", "media_dirs", "weights_mirrors", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("media_store")
    @classmethod
    def _store_address(cls, value: str) -> str:
        parts = urlsplit(value)
        in_bucket = parts.scheme == "s3" and bool(parts.netloc) and "@" not in parts.netloc
        if not value or in_bucket or value.startswith("file:///"):
            return value
        if not parts.scheme and Path(value).expanduser().is_absolute():
            return str(Path(value).expanduser())
        raise ValueError("neither an absolute folder nor s3://bucket/prefix; credentials come from AWS_ACCESS_KEY_ID")

    @field_validator("label_studio_url", "label_studio_public_url", "public_url", "webhook_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError(f"{value!r} is not an http(s) address such as http://localhost:8080")
        return value.rstrip("/")

    @field_validator("weights_mirrors")
    @classmethod
    def _plain_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cls._plain_url(url) for url in value)

    @field_validator("workers")
    @classmethod
    def _known_workers(cls, value: str) -> str:
        number = value.removeprefix("ray:")
        if value == "ray" or (number.isdecimal() and 1 <= int(number) <= 1024):
            return value
        raise ValueError(f"{value!r} is neither a number of workers, nor 'ray', nor as in 'ray:2'")

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
        for level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
            if value.upper() == level:
                return level
        raise ValueError(f"{value!r} is no log level; use DEBUG, INFO, WARNING, ERROR or CRITICAL")

    @field_validator("data_dir", "weights_dir")
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        return value and value.expanduser()

    @field_validator("secret")
    @classmethod
    def _long_secret(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < _SECRET_CHARS:
            raise ValueError(f"it is shorter than {_SECRET_CHARS} characters; `openssl rand -hex 32` makes a good one")
        return value

    @property
    def uses_ray(self) -> bool:
        """Whether the networks live in workers of a Ray cluster."""
        return self.workers != "1"

    @property
    def worker_count(self) -> int | None:
        """How many workers of Ray this process starts; None = as fits where it starts the cluster, else none."""
        number = self.workers.removeprefix("ray:")
        return int(number) if number.isdecimal() else None

    @property
    def weights_folder(self) -> Path:
        """Where fetched weights are."""
        return self.weights_dir or self.data_dir / "weights"

    @model_validator(mode="after")
    def _whole_login(self) -> Settings:
        if bool(self.basic_auth_user) != bool(self.basic_auth_pass.get_secret_value()):
            raise ValueError("BASIC_AUTH_USER and BASIC_AUTH_PASS go together; only one of them is set")
        return self

    @property
    def own_url(self) -> str:
        """The address under which browsers reach this server, without a trailing slash; frame URLs begin with it."""
        everywhere = ("0.0.0.0", "127.0.0.1", "::")  # noqa: S104 - compared, not bound
        return self.public_url or f"http://{'localhost' if self.host in everywhere else self.host}:{self.port}"

    @property
    def connect_url(self) -> str:
        """The address under which Label Studio's server reaches this one, without a trailing slash."""
        return self.webhook_url.removesuffix("/webhook") or self.own_url

    @property
    def events_url(self) -> str:
        """Where Label Studio's events go; the secret is appended as a last part."""
        return f"{self.connect_url}/webhook"

    @property
    def label_studio_pages(self) -> str:
        """The address that links to Label Studio begin with; "" where it is not known."""
        return self.label_studio_public_url or self.label_studio_url


def variable_of(name: str) -> str:
    """Return the environment's variable for a setting as an error names it: by its field, or as it was found there.

    >>> variable_of("adapt_minutes"), variable_of("settings")
    ('TAM_ADAPT_MINUTES', 'settings')
    """
    for field in Settings.model_fields.values():
        known_as = field.validation_alias
        if isinstance(known_as, AliasChoices) and name in known_as.choices:
            # The first one is named, whichever is set; pydantic-settings takes the first that is.
            is_set = {each.upper() for each in os.environ}
            return next((str(each) for each in known_as.choices if str(each).upper() in is_set), name)
    return f"{_PREFIX}{name.upper()}" if name in Settings.model_fields else name


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the environment once."""
    return Settings()
