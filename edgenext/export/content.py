"""What a quantizer says of a file that it has made the graph of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgenext.formats.session import Images
from edgenext.schema import Calibration, Clipping, QatRecord

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Content:
    """What a quantizer adds to the manifest of a file, and the graph that it is compared with.

    `reference` is the float graph before quantization, the graph itself unless set. `samples` are
    calibration images for a converter that needs them, N×H×W×3 uint8. `seed` is of every random
    choice.
    """

    reference: onnx.ModelProto | None = None
    samples: Images | None = None
    recipe: dict[str, object] | None = None
    calibration: Calibration | None = None
    qat: QatRecord | None = None
    kept_float: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    clipping: Mapping[str, Clipping] = field(default_factory=dict)
    seed: int = 0


FLOAT_CONTENT = Content()
