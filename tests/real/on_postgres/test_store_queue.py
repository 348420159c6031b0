"""tests/unit/test_store_queue on PostgreSQL."""

from __future__ import annotations

import pytest

from tests.real.on_postgres.sharing import shared
from tests.unit import test_store_queue

pytestmark = pytest.mark.real
SQLITE = {"test_the_only_gateway_takes_everything_back_at_once"}  # it is alone by a lock on a file
globals().update(shared(test_store_queue, left_out=SQLITE))
