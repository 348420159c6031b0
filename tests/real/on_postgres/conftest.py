"""The store's unit tests again, on PostgreSQL: the same functions, each folder's store a database of the server's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import store_making
from tests.real.postgres import Postgres


@pytest.fixture(scope="module", autouse=True)
def on_postgres(postgres: Postgres) -> Iterator[None]:
    """As long as a module of this folder runs, stores are made on the server."""
    before, store_making.where = store_making.where, store_making.Where(postgres)
    yield
    store_making.where = before
