"""Object stores: a local directory, or S3 by the same verbs.

`shared.store.s3.s3` is imported by whoever needs it: its client takes time to load.
"""

from shared.store.base import NotFoundError, ObjectInfo, Store, StoreError, UnfitStoreError
from shared.store.local import LocalStore
from shared.store.prove import prove_conditional_create

__all__ = [
    "LocalStore",
    "NotFoundError",
    "ObjectInfo",
    "Store",
    "StoreError",
    "UnfitStoreError",
    "prove_conditional_create",
]
