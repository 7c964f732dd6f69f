"""A real S3 server on this machine, started at the first test that needs it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """Of the server, to which the addresses of this process lead from now on; quiet, and quick to give up."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setattr(s3fs.S3FileSystem, "retries", 1)
        yield fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    server.stop()


@pytest.fixture
def s3(client):
    """The client of a server that has the bucket ``my_bucket`` and nothing in it."""
    if client.exists("my_bucket"):
        client.rm("my_bucket", recursive=True)
    client.mkdir("my_bucket")
    return client


@pytest.fixture
def outage(monkeypatch):
    """Begins and ends a time in which nobody answers."""
    import s3fs

    def lead(there: bool) -> None:
        monkeypatch.undo()
        if not there:
            monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        s3fs.S3FileSystem.clear_instance_cache()

    yield lead
    lead(True)
