"""Object stores: a local directory and S3, with the same verbs.

`shared.store.s3.s3` is not imported here: its client takes time to load.
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
