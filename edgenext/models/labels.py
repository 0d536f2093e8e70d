"""Class labels: what a line of a file names, and that no class is named twice."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from edgenext.errors import InputError

WNID = re.compile(r"n\d{8}")
_WNID_AND_WORDS = re.compile(r"(n\d{8})[\s,]")
_NAMED = 5
"""Repeated labels that an error names."""


def label_of(line: str) -> str:
    """The label in a line of a labels file.

    The wnid of `n01440764 tench, Tinca tinca`, as in ImageNet's `synset_words.txt`; of any other
    line what stands in front of a tab. Words behind a wnid are for people: two of ImageNet's
    classes are both called crane.

    >>> label_of("n01440764 tench, Tinca tinca"), label_of("great white shark")
    ('n01440764', 'great white shark')
    """
    label = line.split("\t")[0].strip()
    match = _WNID_AND_WORDS.match(label)
    return match.group(1) if match else label


def name_of(line: str) -> str:
    r"""What people call the class of a line of a labels file; empty if it has only a label.

    >>> name_of("n01440764 tench, Tinca tinca"), name_of("cat\tHouse cat"), name_of("ant")
    ('tench, Tinca tinca', 'House cat', '')
    """
    label, _, words = line.partition("\t")
    match = _WNID_AND_WORDS.match(label.strip())
    if match:
        words = f"{label.strip()[match.end() :]} {words}"
    return " ".join(words.split()).strip(", ")


def class_key(name: str) -> str:
    """A label or a folder's name as classes are compared: macOS writes é as two characters."""
    return unicodedata.normalize("NFC", name)


def require_distinct(
    labels: Sequence[str], source: str, places: str, error: type[InputError]
) -> None:
    """Check that no class is named twice: the images of one would be counted as the other's.

    Args:
        labels: one for each class.
        source: what the labels are called in an error, such as `the labels file labels.txt`.
        places: what their positions are called, which are counted from 1, such as `lines`.
        error: the class of the error.

    Raises:
        InputError: of class `error`: repeated labels; the message names them and their places.
    """
    positions: dict[str, list[int]] = {}
    for position, label in enumerate(labels, 1):
        positions.setdefault(class_key(label), []).append(position)
    repeated = {label: at for label, at in positions.items() if len(at) > 1}
    if not repeated:
        return
    named = [
        f"{label} ({places} {', '.join(map(str, at[:-1]))} and {at[-1]})"
        for label, at in list(repeated.items())[:_NAMED]
    ]
    more = f" and {len(repeated) - _NAMED} more" if len(repeated) > _NAMED else ""
    raise error(
        f"{source} has labels of more than one class: {', '.join(named)}{more}",
        "Give each class a label of its own: for ImageNet its wnid, as in synset_words.txt",
    )
