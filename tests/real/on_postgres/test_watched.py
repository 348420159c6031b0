"""tests/unit/test_watched on PostgreSQL: of several nodes one probes a destination."""

from __future__ import annotations

import pytest

from tests.real.on_postgres.sharing import shared
from tests.unit import test_watched

pytestmark = pytest.mark.real
globals().update(shared(test_watched))
