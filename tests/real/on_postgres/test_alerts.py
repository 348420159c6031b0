"""tests/unit/test_alerts on PostgreSQL: what nodes take from each other."""

from __future__ import annotations

import pytest

from tests.real.on_postgres.sharing import shared
from tests.unit import test_alerts

pytestmark = pytest.mark.real
globals().update(shared(test_alerts))
