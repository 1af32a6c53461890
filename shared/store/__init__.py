"""Object stores: a local directory now, S3 by the same verbs."""

from shared.store.base import NotFoundError, ObjectInfo, Store, StoreError
from shared.store.local import LocalStore

__all__ = ["LocalStore", "NotFoundError", "ObjectInfo", "Store", "StoreError"]
