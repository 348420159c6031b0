"""tests/unit/test_observe on PostgreSQL: several nodes add to the same rows."""

from __future__ import annotations

import pytest

from tests.real.on_postgres.sharing import shared
from tests.unit import test_observe

pytestmark = pytest.mark.real
globals().update(shared(test_observe))
