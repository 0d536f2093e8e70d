"""The gate: the scheme's bound against the network, the format's against the converted graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgenext.export.parity import require_parity
from edgenext.export.settings import ExportSettings
from edgenext.formats.format import ParityBound
from edgenext.schema import Parity
from edgenext.targets.scheme import ROWS


@dataclass(frozen=True)
class Gate:
    """The bounds of one file: `bounds` are its format's, by scheme; see `ParityBound`."""

    settings: ExportSettings
    bounds: Mapping[str, ParityBound]
    name: str

    @property
    def least_db(self) -> float:
        """The least SQNR against the network, in dB."""
        return ROWS[self.settings.scheme].least_db

    def require_graph(self, parity: Parity) -> tuple[str, ...]:
        """Refuse an ONNX file that does not agree with its network.

        Whether the ranges of a calibrated scheme are any good is a result, not a fault of the file:
        then a warning is returned. Files of other quantizers are results too.

        Raises:
            ParityError: a scheme without calibration is below its bound.
        """
        if not self.settings.is_checked:
            return ()
        if not self.settings.calibrated:
            require_parity(parity, self.least_db, self.name)
        elif parity.sqnr_db < self.least_db:
            return (
                f"{parity.sqnr_db:.1f} dB SQNR against {parity.against}: a {self.settings.scheme} "
                f"file below {self.least_db:g} dB computes another function",
            )
        return ()

    def require_file(self, parity: Parity) -> None:
        """Refuse a converted file that does not agree with its network.

        Raises:
            ParityError: it is below the bound of its scheme.
        """
        require_parity(parity, self.least_db, self.name)

    def require_conversion(self, parity: Parity, graph: Parity) -> None:
        """Refuse a file that does not agree with the graph that it was made from.

        The bound is the format's, or 3 dB less than the graph's own SQNR where that is lower:
        nothing that rounds differently can be expected to agree better.

        Args:
            parity: of the file, against the graph.
            graph: of the graph, against the network.

        Raises:
            ParityError: it is below the bound.
        """
        if not self.settings.is_checked:
            return
        bound = self.bounds.get(self.settings.scheme)
        least = bound.least_db if bound else self.least_db
        require_parity(parity, least, self.name, graph)
