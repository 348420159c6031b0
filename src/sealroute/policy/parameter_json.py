"""What a connector's and a transport rule's record have in common: reading JSON by a table of parameters.

Names come in any case and in any order.  What is not known is *named*, never dropped in silence: the part that was not
understood may be the one that made it strict.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sealroute.base.errors import InputError, OperatorError, Problem
from sealroute.policy.parameters import Parameter


def read_values(
    record: Mapping[str, Any], by_name: Mapping[str, Parameter], instead: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A record's values by field, and the names that the table does not have.

    `by_name`: the table, by names in lower case.  `instead` gives fields that the record lacks or that are to be replaced.
    Raises OperatorError with every problem; a record without GUID or name is one.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    unknown: list[str] = []
    for name, value in record.items():
        parameter = by_name.get(name.lower())
        if parameter is None:
            unknown.append(name)
        elif parameter.field in values:
            problems.append(Problem(parameter.name, "it is given twice."))
        elif parameter.field not in instead:
            try:
                values[parameter.field] = parameter.kind.from_json(value)
            except InputError as error:
                problems.append(Problem(parameter.name, f"{error}.", f"Allowed: {parameter.kind.allowed}."))
    values |= instead
    named = {problem.where for problem in problems}
    for field, name in (("guid", "Guid"), ("name", "Name")):
        if not values.get(field) and name not in named:
            problems.append(Problem(name, "the record has none."))
    if problems:
        raise OperatorError(*problems)
    return values, tuple(unknown)


def load_record(text: str, what: str) -> dict[str, Any]:
    """The record in the store's form; raises OperatorError about a `what` record."""
    try:
        record = json.loads(text)
    except ValueError as error:
        raise OperatorError.one(f"{what} record", f"it is not JSON: {error}.") from None
    if not isinstance(record, dict):
        raise OperatorError.one(f"{what} record", "it is not a JSON object.")
    return record


def refuse_unknown(unknown: Iterable[str], what: str) -> None:
    """Raises OperatorError when there is a name that a `what` record written by this version would not have."""
    fix = f"Use the version that wrote it, or remove the {what}."
    if problems := [Problem(name, "this version of Sealroute does not know it.", fix) for name in unknown]:
        raise OperatorError(*problems)
