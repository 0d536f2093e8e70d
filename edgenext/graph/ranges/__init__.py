"""Bounds of everything that a graph computes, for every image."""

from edgenext.graph.ranges.inputs import InputRange as InputRange
from edgenext.graph.ranges.inputs import input_range as input_range
from edgenext.graph.ranges.propagate import Ranges as Ranges
from edgenext.graph.ranges.propagate import limit_of as limit_of
from edgenext.graph.ranges.propagate import propagate as propagate
from edgenext.graph.ranges.step import Item as Item
