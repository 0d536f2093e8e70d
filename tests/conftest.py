"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conversions import SharedConversions, share_conversions

from edgenext.system.files import cache_folder
from edgenext.system.threads import set_openmp

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

set_openmp()  # as the command line does, before torch starts
# Tests run in as many processes as there are cores: with more threads in each they would compete
# for the cores and be several times slower.
for library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]

# In this process and in those that it starts, torchvision loads beside any build of torch.
STUBS = Path(__file__).parent / "stubs"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(STUBS), *filter(None, [os.environ.get("PYTHONPATH")])]
)
sys.path.insert(0, str(STUBS))
sys.modules.pop("sitecustomize", None)
import sitecustomize  # noqa: E402, F401


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with Tiny-ImageNet and the weights trained on it."""
    folder = Path(os.environ.get("EDGENEXT_SHARED", ROOT.parent / "shared"))
    if not (folder / "data" / "tiny-imagenet-val.zip").is_file():
        pytest.skip(f"no Tiny-ImageNet data at {folder} (set EDGENEXT_SHARED)")
    return folder


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Use a temporary cache, except for the converters' environments, which take gigabytes."""
    os.environ.setdefault("EDGENEXT_ENVIRONMENTS", str(cache_folder("environments")))
    os.environ["EDGENEXT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedConversions]:
    """Converters run once for the same input; `conversions.fresh()` runs them each time."""
    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent  # that of all workers
    yield from share_conversions(folder / "conversions")


@pytest.fixture
def make_artifact(tmp_path: Path) -> Callable[..., Artifact]:
    """Makes tiny artifacts in the test's own folder."""
    from tiny_artifacts import tiny_artifact

    def make(name: str = "tiny", **kwargs: int) -> Artifact:
        return tiny_artifact(tmp_path, name, **kwargs)

    return make


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window, started once a session."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    from edgenext.devices.transports.browser import DEFAULT, find_browser
    from edgenext.errors import DeviceError

    try:
        path = find_browser(DEFAULT)
    except DeviceError as e:
        pytest.skip(f"needs a browser: {e.message}")
    with sync_api.sync_playwright() as playwright:
        # without a sandbox of its own, as root in a container has none
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
