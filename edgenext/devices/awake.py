"""A phone that sleeps is slow: it is kept awake while it is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgenext.devices.transports.link import LinkTransport
from edgenext.schema import DeviceFacts

WAKE = "svc power stayon true; input keyevent KEYCODE_WAKEUP; dumpsys deviceidle unforce"
LET_GO = "svc power stayon false"
SLEEP = "input keyevent KEYCODE_SLEEP"


@contextmanager
def awake(link: LinkTransport, facts: DeviceFacts) -> Iterator[None]:
    """An Android device with its screen on in the block, and as it was afterwards.

    Nothing depends on it: a device that does not do it is measured as it is, and its result says
    whether it dozed.
    """
    if facts.kind != "android":
        yield
        return
    link.attempt(WAKE)
    try:
        yield
    finally:
        link.attempt(f"{LET_GO}; {SLEEP}" if facts.screen_on is False else LET_GO)
