"""Whether, where and to whom metrics are shown."""

from typing import Annotated

from msgspec import Meta, Struct

from shared.settings import SECRET


class MetricsSettings(Struct, frozen=True):
    """How Prometheus reads the gateway."""

    metrics_enabled: Annotated[bool, Meta(description="Whether metrics are served at all.", examples=["true"])] = True
    metrics_token: Annotated[
        str,
        Meta(
            extra=SECRET,
            description="Bearer token that a scrape has to send; unset: none.",
            examples=["$(openssl rand -hex 32)"],
        ),
    ] = ""
    prometheus_bind: Annotated[
        str,
        Meta(
            pattern=r"^((\[[0-9A-Fa-f:.]+\]|[^:\s\[\]]+):[0-9]{1,5})?$",
            extra={"expected": "an address and a port"},
            description="Serve metrics on this address and port, and no longer beside the API.",
            examples=["127.0.0.1:9090"],
        ),
    ] = ""

    @property
    def beside_the_api(self) -> bool:
        """Whether `/metrics` is a path of the API's own port."""
        return self.metrics_enabled and not self.prometheus_bind

    @property
    def own_address(self) -> tuple[str, int] | None:
        """Host and port that metrics are served on by themselves; None: they are not."""
        if not self.metrics_enabled or not self.prometheus_bind:
            return None
        host, _, port = self.prometheus_bind.rpartition(":")
        return host.strip("[]"), int(port)
