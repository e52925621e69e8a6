"""What live workers have between them: one entry for each model, however many of them have it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from gateway.models.catalog import ModelCatalog, unknown_model
from gateway.principal import Principal
from shared.model_names import whole_name
from shared.registry import ModelOffer

_NEVER = datetime.min.replace(tzinfo=UTC)
_NUMBERS = re.compile(r"\d+")


def offers_to(principal: Principal | None, catalog: ModelCatalog) -> list[ModelOffer]:
    """Return the models that somebody may ask, the latest modified first, as Ollama lists them.

    Of a model that differs between workers the latest is told.

    Args:
        principal: Whom an API key may confine to some models; None: nobody in particular.
        catalog: Which models there are.

    Raises:
        StoreUnavailableError: As in `ModelCatalog.served`.

    """
    return _best_of_each(principal, catalog, lambda offer: _time(offer.modified_at))


def loaded_offers_to(principal: Principal | None, catalog: ModelCatalog) -> list[ModelOffer]:
    """Return those of them that are in memory somewhere, the one that stays longest first; see `offers_to`."""
    stays_until = _best_of_each(
        principal, catalog, lambda offer: _time(offer.memory.expires_at if offer.memory else "")
    )
    return [offer for offer in stays_until if offer.memory is not None]


def find_offer(name: str, principal: Principal | None, catalog: ModelCatalog) -> ModelOffer:
    """Return the model that `name` means, of those that somebody may ask: itself, or itself with the tag `latest`.

    Raises:
        ModelNotFoundError: No live worker has it, or it is not for them, which is told in the same way.
        StoreUnavailableError: As in `offers_to`.

    """
    offers = {offer.name: offer for offer in offers_to(principal, catalog)}
    for candidate in (name, whole_name(name)):
        if candidate in offers:
            return offers[candidate]
    raise unknown_model(name, sorted(offers))


def modified_s(offer: ModelOffer) -> int:
    """Return when a model was modified, in seconds since 1970; 0: nobody says."""
    return max(0, int(_time(offer.modified_at).timestamp()))


def lowest_version(catalog: ModelCatalog) -> str | None:
    """Return the version that every live worker's Ollama has at least; None: none of them is in reach."""
    versions = {worker.ollama_version for worker in catalog.live_workers() if worker.ollama_version}
    return min(versions, key=_order_of_version, default=None)


def _best_of_each(
    principal: Principal | None, catalog: ModelCatalog, worth: Callable[[ModelOffer], datetime]
) -> list[ModelOffer]:
    best: dict[str, tuple[datetime, ModelOffer]] = {}
    for worker in catalog.live_workers():
        for offer in worker.models:
            if principal is None or principal.may_ask(offer.name):
                value = worth(offer)
                if offer.name not in best or value > best[offer.name][0]:
                    best[offer.name] = (value, offer)
    by_name = sorted(best.values(), key=lambda entry: entry[1].name)
    return [offer for _, offer in sorted(by_name, key=lambda entry: entry[0], reverse=True)]


def _time(text: str) -> datetime:
    try:
        return msgspec.convert(text, datetime).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        return _NEVER


def _order_of_version(version: str) -> tuple[list[int], bool, str]:
    """Return what versions are ordered by: their numbers, and a candidate before what it is one for."""
    release, _, candidate = version.partition("-")
    return [int(number) for number in _NUMBERS.findall(release)], not candidate, candidate
