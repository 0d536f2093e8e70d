"""The key of a result: a hash of everything that decides it."""

from __future__ import annotations

import hashlib
import json

from edgenext.schema.base import Record


class Inputs(Record):
    """Everything that decides a result; a record of its own for each kind of result.

    Settings are kept whole, so that an option that is added later counts without being named
    here; no field of a subclass has a default, so that none is forgotten where one is made.
    """

    versions: dict[str, str]
    """Of this package, and of the packages that compute the result."""


def key(inputs: Inputs) -> str:
    """A hash of a record and its kind: different whenever any field of it is, however deep."""
    text = json.dumps([type(inputs).__name__, inputs.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
