"""Models of every JSON that is written or read.

The models behind a `--json` option are stable: fields are added, never renamed or removed. Units
are in the names or docstrings: `*_ms` milliseconds, `*_mb` MiB, accuracies in percent,
drops in points.
"""

from edgenext.schema.accuracy import Accuracy as Accuracy
from edgenext.schema.accuracy import CompareReport as CompareReport
from edgenext.schema.accuracy import Comparison as Comparison
from edgenext.schema.accuracy import Drop as Drop
from edgenext.schema.accuracy import EvalReport as EvalReport
from edgenext.schema.accuracy import EvalResult as EvalResult
from edgenext.schema.artifact import PYTORCH as PYTORCH
from edgenext.schema.artifact import BuildOptions as BuildOptions
from edgenext.schema.artifact import Conversion as Conversion
from edgenext.schema.artifact import ExportResult as ExportResult
from edgenext.schema.artifact import Manifest as Manifest
from edgenext.schema.artifact import Parity as Parity
from edgenext.schema.base import IMAGENET_MEAN as IMAGENET_MEAN
from edgenext.schema.base import IMAGENET_STD as IMAGENET_STD
from edgenext.schema.base import TIMED as TIMED
from edgenext.schema.base import Calibration as Calibration
from edgenext.schema.base import Division as Division
from edgenext.schema.base import EvalTransform as EvalTransform
from edgenext.schema.base import Evidence as Evidence
from edgenext.schema.base import Exif as Exif
from edgenext.schema.base import ModelCard as ModelCard
from edgenext.schema.base import Record as Record
from edgenext.schema.base import SubsetInfo as SubsetInfo
from edgenext.schema.base import TensorSpec as TensorSpec
from edgenext.schema.base import UnreadFiles as UnreadFiles
from edgenext.schema.check import CheckReport as CheckReport
from edgenext.schema.check import Placement as Placement
from edgenext.schema.check import Refusal as Refusal
from edgenext.schema.device import DEVICE_KINDS as DEVICE_KINDS
from edgenext.schema.device import Device as Device
from edgenext.schema.device import DeviceFacts as DeviceFacts
from edgenext.schema.device import DeviceKind as DeviceKind
from edgenext.schema.device import Telemetry as Telemetry
from edgenext.schema.doctor import DoctorReport as DoctorReport
from edgenext.schema.doctor import Gain as Gain
from edgenext.schema.doctor import Readiness as Readiness
from edgenext.schema.latency import Advice as Advice
from edgenext.schema.latency import BenchReport as BenchReport
from edgenext.schema.latency import BenchResult as BenchResult
from edgenext.schema.latency import Environment as Environment
from edgenext.schema.latency import Latency as Latency
from edgenext.schema.latency import NoiseFloor as NoiseFloor
from edgenext.schema.latency import Published as Published
from edgenext.schema.latency import Ratio as Ratio
from edgenext.schema.latency import Sustained as Sustained
from edgenext.schema.predict import ClassScore as ClassScore
from edgenext.schema.predict import ImagePrediction as ImagePrediction
from edgenext.schema.predict import PredictReport as PredictReport
from edgenext.schema.predict import UnreadImage as UnreadImage
from edgenext.schema.range import RangeReport as RangeReport
from edgenext.schema.range import RangeRow as RangeRow
from edgenext.schema.run import Candidate as Candidate
from edgenext.schema.run import RunSummary as RunSummary
from edgenext.schema.run import SearchReport as SearchReport
from edgenext.schema.run import TwinReport as TwinReport
from edgenext.schema.run import TwinRow as TwinRow
from edgenext.schema.run import Verdict as Verdict
from edgenext.schema.sites import DiffReport as DiffReport
from edgenext.schema.sites import SensitivityReport as SensitivityReport
from edgenext.schema.sites import SiteDifference as SiteDifference
from edgenext.schema.sites import SiteEffect as SiteEffect
from edgenext.schema.sites import SiteRow as SiteRow
from edgenext.schema.verify import HashProblem as HashProblem
from edgenext.schema.verify import Rebuild as Rebuild
from edgenext.schema.verify import VerifyReport as VerifyReport
