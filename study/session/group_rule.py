"""The one place that tells every room of this process who may write what it creates."""

from data import group_rights as data_rights
from storage import group_rights as storage_rights
from storage.configuration import StorageConfig


def follow_group_rule(config: StorageConfig) -> None:
    """Follow `storage.group_writable` from now on."""
    storage_rights.follow(config.group_writable)
    data_rights.follow(config.group_writable)
