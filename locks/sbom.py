"""A CycloneDX bill of materials of the wheel: itself with its sha256, and what it is locked to.

The components come from `cyclonedx-py` (cyclonedx-bom), which reads the lock; the hash of the wheel
is added here, and the result is validated against the schema before it is written.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[1]


def components() -> dict[str, object]:
    """The bill of the lock, without a date: the same lock and wheel give the same bytes."""
    command = [
        *(sys.executable, "-m", "cyclonedx_py", "requirements", str(ROOT / "locks" / "run.lock")),
        *("--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "library"),
        *("--spec-version", "1.6", "--output-format", "JSON", "--output-reproducible"),
    ]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    bill: dict[str, object] = json.loads(output)
    return bill


def bill_of(wheel: Path) -> str:
    """The bill of a wheel as JSON.

    Raises:
        ValueError: the lock has no packages, or the bill is not valid.
    """
    bill = components()
    if not bill.get("components"):
        raise ValueError("locks/run.lock has no packages")
    metadata = bill["metadata"]
    assert isinstance(metadata, dict)  # noqa: S101 - the schema says so
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    metadata["component"]["hashes"] = [{"alg": "SHA-256", "content": digest}]
    metadata["component"]["properties"] = [{"name": "edgenext:wheel", "value": wheel.name}]
    text = json.dumps(bill, indent=2, sort_keys=True) + "\n"
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error:
        raise ValueError(f"the bill is not valid: {error}")
    return text


def main() -> None:
    """Write the bill of the wheel that is named, beside it."""
    wheel = Path(sys.argv[1])
    name, version = wheel.name.split("-")[:2]
    path = wheel.with_name(f"{name}-{version}.cdx.json")
    path.write_text(bill_of(wheel))
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
