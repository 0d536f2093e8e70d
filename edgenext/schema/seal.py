"""Records that have a hash of themselves."""

from __future__ import annotations

from edgenext.schema.base import Record
from edgenext.system.sums import own_hash


def sealed(record: Record, key: str) -> bytes:
    """The JSON file of a record, with the sha256 of the file itself under `key`.

    It is the hash of the file with that value empty; `own_hash` computes it again.
    """
    empty = record.model_copy(update={key: ""}).model_dump_json(indent=2) + "\n"
    _, digest = own_hash(empty.encode(), key)
    return (record.model_copy(update={key: digest}).model_dump_json(indent=2) + "\n").encode()
