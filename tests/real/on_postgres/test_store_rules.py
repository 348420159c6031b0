"""tests/unit/test_store_rules on PostgreSQL."""

from __future__ import annotations

import pytest

from tests.real.on_postgres.sharing import shared
from tests.unit import test_store_rules

pytestmark = pytest.mark.real
globals().update(shared(test_store_rules))
