from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tests.databases import Databases
from tests.faults.site import Site
from tests.faults.trial import Trial

SEED = 1


@pytest.fixture(scope="package")
async def site(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The whole product, which each test leaves whole and idle."""
    async with (
        databases.fresh() as database_url,
        Site(tmp_path_factory.mktemp("site"), database_url=database_url, chance=Random(SEED)) as site,
    ):
        yield site


@pytest.fixture
def trial(site: Site, tmp_path: Path) -> Trial:
    """What a row is run with."""
    return Trial(site, tmp_path / "run", Random(SEED), tell=lambda _: None, outage_s=2)
