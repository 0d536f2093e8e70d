"""Devices: how they are reached, what they are, and what they did while something was measured."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from edgenext.schema.base import Record

DeviceKind = Literal["jetson", "android", "iphone", "linux"]
DEVICE_KINDS: tuple[DeviceKind, ...] = get_args(DeviceKind)


class Device(Record):
    """One entry of the devices file, with exactly one address: see `addresses`."""

    name: str
    kind: DeviceKind
    ssh: str = ""
    """user@host, or user@host:port."""
    adb: str = ""
    """A serial number, or host:port."""
    bundle: str = ""
    """A folder for bundles, which somebody carries to the device and back."""
    local: bool = False
    """This machine itself."""
    host_key: str = ""
    """Of an ssh device: its public key, as in a known_hosts file; any other is refused."""
    identity: str = ""
    """Of an ssh device: a private key's file; empty for the agent's and ~/.ssh's."""
    python: str = "python3"
    """The interpreter there that has onnxruntime or LiteRT."""
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
    """What a device says of itself when it is probed; what it does not say is empty.

    `isa` are the arm64 or x86 features that matter to INT8 (dotprod, i8mm, sve, avx512_vnni …),
    `software` versions by name (l4t, jetpack, tensorrt, cuda, android, kernel …), `tools` paths of
    native tools by name, `int8` whether the GPU or NPU has fast 8-bit arithmetic, None where
    nobody knows. `emulator` is the emulator it runs under: then its time says nothing.
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
    clocks_locked: bool | None = None
    governors: tuple[str, ...] = ()
    temperatures_c: dict[str, float] = Field(default_factory=dict)
    thermal_status: int | None = None
    """Android's, 0 to 6: 0 is cool, from 3 on it throttles much."""
    battery_percent: float | None = None
    charging: bool | None = None
    screen_on: bool | None = None
    dozing: bool | None = None
    providers: tuple[str, ...] = ()
    """Execution providers of the onnxruntime there."""
    rails: tuple[str, ...] = ()
    """Power rails that can be read, by name."""
    whole_rail: str = ""
    """The rail that feeds the whole module; empty where none does."""
    int8: bool | None = None
    emulator: str = ""
    boot_id: str = ""
    notes: tuple[str, ...] = ()
    """What a user should know: how to get more from it, what it cannot do."""


class Telemetry(Record):
    """What a device did while one artifact ran, from samples of its own sensors.

    Powers are means in W by rail, temperatures the highest in °C, clocks the lowest in MHz; all
    empty where nothing can be read. `energy_mj` is of one inference, of the rail that feeds the
    whole module, and `idle_power_w` that rail's power before anything ran.
    """

    seconds: float
    samples: int
    power_w: dict[str, float] = Field(default_factory=dict)
    temperatures_c: dict[str, float] = Field(default_factory=dict)
    clocks_mhz: dict[str, float] = Field(default_factory=dict)
    idle_power_w: float | None = None
    energy_mj: float | None = None
    """Millijoules."""
