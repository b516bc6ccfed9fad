"""The few errors that this room raises for its callers to handle."""


class ModelError(Exception):
    """Anything that this room reports on purpose."""


class DivergedError(ModelError):
    """The loss of an epoch is not a finite number; the epoch is not part of the state."""


class DeviceUnavailableError(ModelError):
    """The configured device or precision does not exist on this machine."""
