"""nginx as a bare proxy before the model: what a gateway could cost at the least."""

import os
import shutil
from pathlib import Path

from infra.local.ports import free_port
from infra.local.program import Program
from tests.benchmarks.answering import http_fault

_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {directory}/pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream model {{
        server 127.0.0.1:{model_port};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def nginx_binary() -> str | None:
    """Return where nginx is, or None where it is not installed."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


def nginx(binary: str, directory: Path, *, model_port: int) -> tuple[Program, int]:
    """Return an nginx that passes everything on to `model_port`, unbuffered, and the port it listens on."""
    directory.mkdir()
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(directory=directory, port=port, model_port=model_port))
    program = Program(
        name=directory.name,
        argv=(binary, "-e", "stderr", "-c", str(configuration)),
        environment={},
        log=directory / "log",
        fault=lambda _: http_fault(port, "/api/version"),
    )
    return program, port
