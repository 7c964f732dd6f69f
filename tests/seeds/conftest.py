"""Blocks are imported where they are tested, not to look for examples in them: some write where they stand."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest
import s3fs
from moto.server import ThreadedMotoServer

collect_ignore = ["blocks"]


@pytest.fixture
def bucket(monkeypatch) -> Iterator[s3fs.S3FileSystem]:
    """An S3 server on this machine with the bucket that the page names; the environment is what points to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    names = {"ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}
    for name, value in names.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()  # servers of one process hold one store
    files.mkdir("my_bucket")
    yield files
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
