"""Which limits a request spends from."""

from gateway.admission.rate_limit import Limit, address_name
from gateway.admission.settings import RateLimitSettings


class LimitPolicy:
    """Turns who asks into the limits to spend from."""

    def __init__(self, settings: RateLimitSettings) -> None:
        self._settings = settings

    def of_address(self, address: str) -> tuple[Limit, ...]:
        """Return the limits of somebody of whom only the address is known."""
        if not self._settings.rate_limit_enabled:
            return ()
        per_minute = self._settings.rate_limit_address_requests_per_minute
        return (Limit(scope="address", name=address_name(address), per_minute=per_minute, burst=per_minute),)

    def of_user(self, user_id: str, address: str) -> tuple[Limit, ...]:
        """Return the limits of a user, first their own."""
        if not self._settings.rate_limit_enabled:
            return ()
        per_minute = self._settings.rate_limit_requests_per_minute
        burst = self._settings.rate_limit_burst or per_minute
        return (Limit(scope="user", name=user_id, per_minute=per_minute, burst=burst), *self.of_address(address))
