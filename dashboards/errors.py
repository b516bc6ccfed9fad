"""The one error of this package: what it refuses to show or to serve, in one line."""


class DashboardError(Exception):
    """Something asked of a dashboard is refused."""
