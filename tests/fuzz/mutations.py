"""Seeded mutations of files: of bytes, text, JSON, TOML, zips and protobuf messages."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

Mutation = Callable[[bytes, random.Random], bytes]

SIZES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
NUMBERS = (0, -1, 1, 2, 7, 1000, 2**31, -(2**31), 2**53, 2**54, 2**62, 2**63 - 1, 2**63, -(2**63))
TEXTS = ("", " ", "\0", "a\0b", "../../x", "/", ".", "/dev/zero", "\ud800", "é", "x" * 5000, "NaN")
TOKENS = (
    *("nan", "inf", "-inf", "1e999", "9" * 5000, "-1", "0", "1e-320", '""', '"\\u0000"', "[]"),
    *("[" * 3000, "{}", "true", "null", "a." * 300 + "b = 1", "1979-05-27", '"""', "\\", "=", "#"),
)


def bytes_mutation(data: bytes, rng: random.Random) -> bytes:
    """One to four changes of bits, bytes, numbers, lengths or blocks."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        size = len(content)
        at = rng.randrange(size + 1)
        kind = rng.randrange(8)
        if kind == 0 and size:
            content[at % size] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            content[at % size] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del content[at:]
        elif kind == 3:
            content[at:at] = rng.randbytes(rng.choice((1, 4, 64, 5000)))
        elif kind == 4:
            del content[at : at + rng.choice((1, 4, 8, 100))]
        elif kind == 5:
            block = content[at : at + rng.choice((4, 32, 1000))]
            content[at:at] = block * rng.choice((1, 2, 50))
        elif kind == 6 and size >= 8:
            at -= at % 4
            content[at : at + 4] = struct.pack("<I", rng.choice(SIZES))
        elif kind == 7 and size >= 8:
            at -= at % 8
            content[at : at + 8] = struct.pack("<q", rng.choice(NUMBERS[:-2]))
    return bytes(content)


def header_mutation(data: bytes, rng: random.Random) -> bytes:
    """A change in the first or last 400 bytes, where formats keep their structure."""
    if rng.random() < 0.7:
        return bytes_mutation(data[:400], rng) + data[400:]
    return data[:-400] + bytes_mutation(data[-400:], rng)


def text_mutation(data: bytes, rng: random.Random) -> bytes:
    """Lines and words that are missing, repeated, exchanged or replaced; now and then bytes."""
    if rng.random() < 0.3:
        return bytes_mutation(data, rng)
    lines = data.decode(errors="replace").split("\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines[at:at] = [lines[at]] * rng.choice((1, 2, 200))
    elif kind == 2:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
    else:
        words = lines[at].split(" ")
        word = rng.randrange(len(words))
        head, equals, _ = words[word].partition("=" if "=" in words[word] else ":")
        token = rng.choice((*TOKENS, *map(str, NUMBERS)))
        words[word] = f"{head}{equals}{token}" if equals and kind == 4 else token
        lines[at] = " ".join(words)
    return "\n".join(lines).encode(errors="replace")


def json_mutation(data: bytes, rng: random.Random) -> bytes:
    """One value, key or nesting of a JSON text changed; of JSON lines, in one line."""
    if rng.random() < 0.25:
        return text_mutation(data, rng)
    lines = data.split(b"\n")
    whole = len(lines) < 2 or not lines[1].startswith(b"{")
    at = 0 if whole else rng.randrange(len(lines))
    try:
        value = json.loads(data if whole else lines[at])
    except ValueError:
        return text_mutation(data, rng)
    text = json.dumps(_changed(value, rng), ensure_ascii=rng.random() < 0.5)
    text = text.replace('"\\u0001RAW', "").replace('RAW\\u0001"', "")
    encoded = text.encode("utf-8", "replace")
    return encoded if whole else b"\n".join([*lines[:at], encoded, *lines[at + 1 :]])


def _changed(value: Any, rng: random.Random) -> Any:
    """The value with one of its places changed."""
    places: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        container = pending.pop()
        keys = container if isinstance(container, dict) else range(len(container))
        for key in list(keys) if isinstance(container, dict | list) else ():
            places.append((container, key))
            if isinstance(container[key], dict | list):
                pending.append(container[key])
    if not places:
        return _hostile(value, rng)
    container, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[rng.choice((*TEXTS, "x", "schema_version"))] = container.pop(key)
    else:
        container[key] = _hostile(container[key], rng)
    return value


def _hostile(value: Any, rng: random.Random) -> Any:
    raw = ("1e999", "-1e999", "NaN", "Infinity", "9" * 5000, "[" * 400 + "]" * 400, "[" * 100000)
    number = value if isinstance(value, int | float) and abs(value) < 2**53 else 1
    values: tuple[Any, ...] = (
        *(None, True, False, [], {}, [[]], [value], {"x": value}, [value, value], 99),
        *(number * 1e300, number * -1, number + 0.5, number * 10**9, 1e-320, str(number)),
        *(rng.choice(NUMBERS), rng.choice(NUMBERS), rng.choice(TEXTS), rng.choice(TEXTS)),
        *(f"\u0001RAW{rng.choice(raw)}RAW\u0001",) * 4,
    )
    return rng.choice(values)


def toml_mutation(data: bytes, rng: random.Random) -> bytes:
    """The value behind one `=` replaced, or a change of the text."""
    lines = data.decode().split("\n")
    assignments = [i for i, line in enumerate(lines) if "=" in line]
    if not assignments or rng.random() < 0.3:
        return text_mutation(data, rng)
    at = rng.choice(assignments)
    key = lines[at].partition("=")[0]
    lines[at] = f"{key}= {rng.choice((*TOKENS, *map(str, NUMBERS)))}"
    return "\n".join(lines).encode()


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def zip_mutation(member: Mutation) -> Mutation:
    """Changes of a zip: of its members, names, compression and sizes, or of its bytes."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return header_mutation(data, rng)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        chosen = rng.randrange(len(members))
        method = rng.choice(METHODS)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for i, (name, content) in enumerate(members):
                if i == chosen:
                    kind = rng.randrange(5)
                    if kind == 0:
                        continue
                    if kind == 1:
                        name = rng.choice(("", "/", "../x", name + "/", "\xff\ud7ff", "a" * 70000))
                        name = name[:65000]
                    elif kind == 2:
                        content = bytes(rng.choice((0, 1 << 24)))
                    else:
                        content = member(content, rng)
                info = zipfile.ZipInfo(name or "x")
                info.compress_type = method
                archive.writestr(info, content)
        written = bytearray(buffer.getvalue())
        if rng.random() < 0.5:  # flags, sizes, methods and names of the headers; damaged streams
            signature = rng.choice((b"PK\x01\x02", b"PK\x03\x04"))
            starts = [i for i in range(len(written) - 46) if written[i : i + 4] == signature]
            if starts:
                at = rng.choice(starts) + rng.randrange(4, 60)
                written[at % len(written)] = rng.choice((0, 1, 0x21, 0x63, 0x80, 0xFF))
        return bytes(written)

    return mutate


def message_mutation(kind: type[Message]) -> Mutation:
    """Changes of the fields of a protobuf message, at any depth."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return bytes_mutation(data, rng)
        message = kind.FromString(data)
        for _ in range(rng.choice((1, 1, 2, 3))):
            _change_message(message, rng)
        return message.SerializeToString()

    return mutate


def _change_message(message: Message, rng: random.Random) -> None:
    """Go down to some field, and change it."""
    while fields := message.ListFields():
        field, value = rng.choice(fields)
        repeated = field.is_repeated
        if field.message_type and field.message_type.GetOptions().map_entry:
            key = rng.choice(sorted(value))
            if not isinstance(value[key], Message) or rng.random() < 0.1:
                del value[key]
                return
            message = value[key]
            continue
        if field.message_type and not (repeated and rng.random() < 0.2):
            message = rng.choice(value) if repeated else value
            if rng.random() < 0.1:
                message.Clear()
            continue
        if repeated and rng.random() < 0.4:
            _change_length(value, rng)
        else:
            _change_scalar(message, field, value, rng)
        return


def _change_length(values: Any, rng: random.Random) -> None:
    at = rng.randrange(len(values))
    if rng.random() < 0.5:
        del values[at]
    else:
        values.extend([values[at]] * rng.choice((1, 3)))


def _change_scalar(message: Message, field: Any, value: Any, rng: random.Random) -> None:
    repeated, at = field.is_repeated, 0
    if repeated:
        if field.message_type:
            _change_length(value, rng)
            return
        at = rng.randrange(len(value))
    current = value[at] if repeated else value
    if isinstance(current, bool):
        new: Any = not current
    elif isinstance(current, int):
        new = rng.choice((*NUMBERS, current + 1, current * 2, rng.randrange(64)))
    elif isinstance(current, float):
        new = rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    elif isinstance(current, str):
        new = rng.choice(("", "x", current + "x", "input", "logits", "Conv", "Loop", "If", "Scan"))
    else:
        new = bytes_mutation(current, rng)
    try:
        if repeated:
            value[at] = new
        else:
            setattr(message, field.name, new)
    except (ValueError, TypeError):  # the number does not fit the field
        return
