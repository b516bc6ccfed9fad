"""The one error of this package, with a message of one line."""


class DashboardError(Exception):
    """A view cannot be shown or served."""
