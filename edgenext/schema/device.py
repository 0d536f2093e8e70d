"""Devices: their connection, their properties, and their state during a measurement."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from edgenext.schema.base import Record

DeviceKind = Literal["jetson", "android", "iphone", "linux", "web", "node"]
DEVICE_KINDS: tuple[DeviceKind, ...] = get_args(DeviceKind)
SCRIPTED: tuple[DeviceKind, ...] = ("web", "node")
"""Kinds of devices that run JavaScript, and have no shell."""


class Device(Record):
    """One entry of the devices file, with exactly one address: see `addresses`."""

    name: str
    kind: DeviceKind
    ssh: str = ""
    """user@host, or user@host:port."""
    adb: str = ""
    """A serial number, or host:port."""
    bundle: str = ""
    """A folder for bundles, which are carried to the device and back by hand."""
    local: bool = False
    """This machine itself."""
    host_key: str = ""
    """Of an ssh device: its public key, as in a known_hosts file; any other key is refused."""
    identity: str = ""
    """Of an ssh device: file of a private key; empty for the keys of the agent and ~/.ssh."""
    python: str = "python3"
    """The interpreter on the device that has onnxruntime, LiteRT or OpenVINO."""
    root: str = ""
    """The folder there that all our files are kept in; empty for the transport's own."""
    links: dict[str, str] = Field(default_factory=dict)
    """Addresses by transport, of transports without a field of their own; left out when empty."""

    @property
    def addresses(self) -> dict[str, str]:
        """The device's address by the name of its transport, or the folder by `bundle`."""
        local = "this machine" if self.local else ""
        fields = {"ssh": self.ssh, "adb": self.adb, "bundle": self.bundle, "local": local}
        return {name: address for name, address in (fields | self.links).items() if address}

    @model_serializer(mode="wrap")
    def _without_empty_links(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if name != "links" or value}


class DeviceFacts(Record):
    """The properties that a device reports when it is probed; what it does not report is empty.

    `isa` are the arm64 or x86 features that matter to INT8 (dotprod, i8mm, sve, avx512_vnni …),
    `software` versions by name (l4t, jetpack, tensorrt, cuda, android, kernel …), `tools` paths of
    native tools by name (in results, their file names), `int8` whether the GPU or NPU has fast
    8-bit arithmetic, None if unknown. `emulator` is the emulator it runs under: its latencies are
    then meaningless.
    """

    kind: DeviceKind = "linux"
    model: str = ""
    soc: str = ""
    machine: str = ""
    os: str = ""
    cores: int = 0
    memory_mb: float = 0.0
    disk_free_mb: float = 0.0
    isa: tuple[str, ...] = ()
    software: dict[str, str] = Field(default_factory=dict)
    tools: dict[str, str] = Field(default_factory=dict)
    power_mode: str = ""
    power_modes: tuple[str, ...] = ()
    adapter: str = ""
    """Of a browser: the GPU behind WebGPU; empty if it has none."""
    clocks_locked: bool | None = None
    governors: tuple[str, ...] = ()
    temperatures_c: dict[str, float] = Field(default_factory=dict)
    thermal_status: int | None = None
    """Of Android, 0 to 6: 0 is no throttling, from 3 on it is severe."""
    battery_percent: float | None = None
    charging: bool | None = None
    screen_on: bool | None = None
    dozing: bool | None = None
    providers: tuple[str, ...] = ()
    """Execution providers of the onnxruntime on the device."""
    rails: tuple[str, ...] = ()
    """Names of the power rails that can be read."""
    whole_rail: str = ""
    """The rail that feeds the whole module; empty if there is none."""
    int8: bool | None = None
    emulator: str = ""
    boot_id: str = ""
    notes: tuple[str, ...] = ()
    """Advice for the user: settings that make it faster, and its limits."""


class Telemetry(Record):
    """The state of a device while one artifact ran, from samples of its own sensors.

    Powers are means in W by rail, temperatures the highest in °C, clocks the lowest in MHz; all
    are empty if nothing can be read. `energy_mj` (millijoules) is of one inference, on the rail
    that feeds the whole module; `idle_power_w` is that rail's power before anything ran.
    """

    seconds: float
    samples: int
    power_w: dict[str, float] = Field(default_factory=dict)
    temperatures_c: dict[str, float] = Field(default_factory=dict)
    clocks_mhz: dict[str, float] = Field(default_factory=dict)
    idle_power_w: float | None = None
    energy_mj: float | None = None
