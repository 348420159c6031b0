"""tests/unit/test_report on PostgreSQL: what reports count is read by the same queries there."""

from __future__ import annotations

import pytest

from tests.real.on_postgres.sharing import shared
from tests.unit import test_report

pytestmark = pytest.mark.real
globals().update(shared(test_report))
