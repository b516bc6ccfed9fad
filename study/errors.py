"""The few errors of this package, each one line: setting, rule, value and remedy."""


class StudyError(Exception):
    """Something asked of a study is refused."""


class ConfigurationError(StudyError):
    """A setting is unknown, of the wrong type or out of range."""


class ProtocolError(StudyError):
    """The study exists and was fixed differently."""
