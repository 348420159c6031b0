"""tests/unit/test_move_store on PostgreSQL: of several nodes one rolls back."""

from __future__ import annotations

import pytest

from tests.real.on_postgres.sharing import shared
from tests.unit import test_move_store

pytestmark = pytest.mark.real
globals().update(shared(test_move_store))
