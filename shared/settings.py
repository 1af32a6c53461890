"""The settings of a process, read from LINEAMENT_* when it starts."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from shared.api_keys import ApiKey, Rate, parse_keys
from shared.store import LocalStore, Store, prove_conditional_create
from shared.store.address import Address
from shared.store.base import checked

USUAL_SECRETS = "/run/secrets"
TRACING = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class SettingsError(ValueError):
    """Settings that cannot be used: a sentence each, led by the variable, never with its value."""

    def __init__(self, why: ValidationError | str) -> None:
        super().__init__(why if isinstance(why, str) else "; ".join(map(_sentence, why.errors())))


def _sentence(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    where = "_".join(str(part) for part in problem["loc"][:1]).upper()
    return f"LINEAMENT_{where}: {message}" if where else message


_HOST = r"\s*(\*|(\*\.)?[\w-]+(\.[\w-]+)*|\[[\da-fA-F:.]+\])\s*"
HOSTS = re.compile(rf"{_HOST}(,{_HOST})*")


class Settings(BaseSettings):
    """Settings of one process. Durations are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="LINEAMENT_", frozen=True)

    data: Path = Field(Path(".lineament"), description="Directory of store, queue, work and logs.")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Broker, leases, live progress.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where stages compute.")
    threads: int = Field(0, ge=0, description="Threads of a stage; 0 takes every core.")
    lease: float = Field(
        10.0, gt=0, description="A worker silent for this long has lost its stage."
    )
    checkpoint: float = Field(60.0, gt=0, description="Longest time between two checkpoints.")
    grace: float = Field(25.0, gt=0, description="Time a stage has to leave before it is killed.")
    stall: float = Field(1800.0, gt=0, description="A stage silent for this long is killed.")
    poll: float = Field(1.0, gt=0, description="The reconciler looks around at least this often.")
    attempts: int = Field(3, ge=1, description="Attempts without progress before a stage fails.")
    cache_limit: int = Field(
        50_000_000_000, ge=0, description="Size of artifacts that a worker caches (S3 only)."
    )
    s3_endpoint: str = Field(
        "", description="S3 server, host:port or URL; empty: the store is a local directory."
    )
    s3_bucket: str = Field("lineament", description="Bucket; created if it is missing.")
    s3_prefix: str = Field("", description="Names in the bucket start with this and a slash.")
    s3_access_key: str = Field("", description="Access key of the S3 server.")
    s3_secret_key: SecretStr = Field(SecretStr(""), description="Secret key of the S3 server.")
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    s3_secure: bool = Field(True, description="TLS for endpoints named without http(s)://.")
    s3_public_endpoint: str = Field(
        "", description="The S3 server as browsers reach it, for presigned URLs."
    )
    metrics_port: int = Field(
        0, ge=0, description="Port of a worker's and the reconciler's /metrics; 0 for none."
    )
    metrics_host: str = Field(
        "0.0.0.0",  # noqa: S104  (a scraper comes from elsewhere; embedded it is the loopback one)
        description="Address of that /metrics; embedded installations use 127.0.0.1.",
    )
    trace_endpoint: str = Field(
        "", description="OTLP/HTTP server for traces, as http://collector:4318; empty: none."
    )
    explain_url: str = Field(
        "", description="OpenAI-compatible server that explains features, as http://host:8000/v1."
    )
    explain_model: str = Field("", description="Name of the language model on that server.")
    explain_key: SecretStr = Field(SecretStr(""), description="Key of that server; may be empty.")
    explain_label: str = Field(
        "language model", description="Name of that language model in reports."
    )
    explain_concurrency: int = Field(
        4, ge=1, le=256, description="Requests that one stage sends to that server at a time."
    )
    explain_timeout: float = Field(
        60.0, gt=0, description="Longest wait for an answer of that server."
    )
    upload_limit: int = Field(50_000_000_000, gt=0, description="Largest upload.")
    redirect_downloads: bool = Field(
        False, description="Redirect downloads of artifacts to presigned URLs of the object store."
    )
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = Field(
        (), description="API keys, the JSON list that `lineament key` prints; none: loopback only."
    )
    open: bool = Field(
        False, description="Answer requests without keys from any address, not only loopback."
    )
    rate: Rate = Field("1200/minute", description="Requests allowed per key or client; or `off`.")
    open_experiments: int = Field(
        0, ge=0, description="Running experiments allowed per key; 0 for no limit."
    )
    trusted_hosts: str = Field(
        "localhost,127.0.0.1,[::1]",
        description="Host names that requests may use; `*.example.org` for all below it.",
    )
    trusted_proxies: str = Field(
        "", description="Addresses of proxies whose X-Forwarded-For is trusted."
    )

    @field_validator("trace_endpoint")
    @classmethod
    def _check_traces(cls, value: str) -> str:
        if value and not re.match(r"https?://[^/]", value):
            raise ValueError("must be a URL that begins with http:// or https://")
        if value and not all(map(installed, TRACING)):
            raise ValueError("needs packages that are not there: pip install 'lineament[traces]'")
        return value

    @field_validator("trusted_hosts")
    @classmethod
    def _check_hosts(cls, value: str) -> str:
        if not HOSTS.fullmatch(value):
            raise ValueError("must be host names without ports, separated by commas")
        return value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: Any) -> Any:
        return parse_keys(value) if isinstance(value, str) else value

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(error) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, the environment, then files of secrets."""
        folder = secrets_directory()
        if folder is None:
            return init_settings, env_settings
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, folder)

    @field_validator("s3_endpoint", "s3_public_endpoint")
    @classmethod
    def _check_endpoint(cls, value: str) -> str:
        if value:
            Address.parse(value, secure=True)
        return value

    @field_validator("explain_url")
    @classmethod
    def _check_explain_url(cls, value: str) -> str:
        value = value.strip().rstrip("/")
        if value and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", value):
            raise ValueError(
                "must be a URL that begins with http:// or https://, without user and query"
            )
        return value

    @field_validator("explain_model", "explain_label")
    @classmethod
    def _strip(cls, value: str) -> str:
        return value.strip()

    @field_validator("explain_key")
    @classmethod
    def _check_explain_key(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value().strip()  # a secret's file may end with a newline
        if not re.fullmatch(r"[!-~]*", key):
            raise ValueError("must be printable ASCII characters without spaces")
        return SecretStr(key)

    @field_validator("s3_bucket")
    @classmethod
    def _check_bucket(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
            raise ValueError("must be 3 to 63 lower-case letters, digits, dots and hyphens")
        return value

    @field_validator("s3_prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        return checked(value.strip("/")) if value.strip("/") else ""

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.s3_endpoint and not (self.s3_access_key and self.s3_secret_key.get_secret_value()):
            raise ValueError(
                "LINEAMENT_S3_ENDPOINT: needs LINEAMENT_S3_ACCESS_KEY and LINEAMENT_S3_SECRET_KEY"
            )
        return self

    @model_validator(mode="after")
    def _check_explainer(self) -> Self:
        for name, needed in (("URL", "MODEL"), ("MODEL", "URL")):
            if getattr(self, f"explain_{name.lower()}") and not getattr(
                self, f"explain_{needed.lower()}"
            ):
                raise ValueError(f"LINEAMENT_EXPLAIN_{name}: needs LINEAMENT_EXPLAIN_{needed}")
        if not self.explain_label:
            raise ValueError("LINEAMENT_EXPLAIN_LABEL: must not be empty")
        return self

    def thread_count(self) -> int:
        """The number of threads that a stage uses."""
        return self.threads or os.cpu_count() or 1

    def open_store(self, prove: bool = True) -> Store:
        """The object store: S3 when an endpoint is set, the local directory otherwise.

        With `prove` the bucket is created if it is missing, and the server has to show that it
        keeps conditional creates; UnfitStoreError if it does not. A process need not prove it when
        the process that started it has done so.
        """
        if not self.s3_endpoint:
            return LocalStore(self.data / "store")
        from shared.store.s3.s3 import S3Store  # slow to load, and a local store needs no client

        store = S3Store(
            endpoint=self.s3_endpoint,
            bucket=self.s3_bucket,
            access_key=self.s3_access_key,
            secret_key=self.s3_secret_key.get_secret_value(),
            region=self.s3_region,
            secure=self.s3_secure,
            public_endpoint=self.s3_public_endpoint,
            prefix=self.s3_prefix,
        )
        if prove:
            store.ensure_bucket()
            prove_conditional_create(store)
        return store


def installed(package: str) -> bool:
    """True when a package can be imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def secrets_directory() -> Path | None:
    """The directory with one file for each secret variable, named like it in upper or lower case.

    It is the one that LINEAMENT_SECRETS names, else Docker's; None when there is none.
    Raises SettingsError when the named one is not a directory.
    """
    named = os.environ.get("LINEAMENT_SECRETS")
    folder = Path(named or USUAL_SECRETS)
    if folder.is_dir():
        return folder
    if named:
        raise SettingsError("LINEAMENT_SECRETS: is not a directory")
    return None
