"""A real S3 server (moto's) on a free port, and what stands between it and us when the network breaks."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

BUCKET = "media"


@dataclass(frozen=True)
class S3Server:
    """Args:
    url: its endpoint.
    client: boto3's, to look at the bucket and to change what is in it.
    """

    url: str
    client: object

    def names(self) -> list[str]:
        """What is in the bucket."""
        return sorted(each["Key"] for each in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", []))  # type: ignore[attr-defined]

    def uploads_under_way(self) -> int:
        return len(self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))  # type: ignore[attr-defined]

    def alter(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=name, Body=content)  # type: ignore[attr-defined]

    def read(self, name: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()  # type: ignore[attr-defined]
        return content

    def check_credentials(self, checked: bool) -> None:
        """From now on refuse whoever has no key that was given out, or take everybody."""
        requests.post(f"{self.url}/moto-api/reset-auth", data=b"0" if checked else b"inf", timeout=10)


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server with one empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_bucket(Bucket=BUCKET)
    try:
        yield S3Server(url, client)
    finally:
        client.close()
        server.stop()


def use_endpoint(patch: pytest.MonkeyPatch, url: str) -> None:
    """Set the environment as an operator does."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "VERY-SECRET",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(name, value)


@contextlib.contextmanager
def breaking_line(url: str, after_bytes: int) -> Iterator[str]:
    """Give the address of a line to a server that breaks each connection after so many bytes that were sent to it."""
    parts = urlsplit(url)
    listening = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket, most: float) -> None:
        with contextlib.suppress(OSError):
            while most > 0 and (content := source.recv(1 << 16)):
                target.sendall(content)
                most -= len(content)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = listening.accept()
                far = socket.create_connection((parts.hostname or "", parts.port or 80))
                threading.Thread(target=carry, args=(near, far, after_bytes), daemon=True).start()
                threading.Thread(target=carry, args=(far, near, float("inf")), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield "http://{}:{}".format(*listening.getsockname())
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
