"""tests/unit/test_store_writer on PostgreSQL."""

from __future__ import annotations

import pytest

from tests.real.on_postgres.sharing import shared
from tests.unit import test_store_writer

pytestmark = pytest.mark.real
SQLITE = {
    "test_a_full_disk_fails_all_and_passes",
    "test_a_disk_that_fills_up_while_a_guilty_job_is_sought_fails_the_rest_at_once",
}
globals().update(shared(test_store_writer, left_out=SQLITE))
