"""Logging of every process: JSON lines on standard error, with API keys blotted out."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from shared.api_keys import KEY_PREFIX

# Nothing here logs a header or a query string. This catches the rest: a key pasted into a path, or
# one in the text of a library's error.
_KEY = re.compile(re.escape(KEY_PREFIX) + r"[\w-]{20,}", re.ASCII)
REDACTED = f"{KEY_PREFIX}***"


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that blots API keys out of every text of an event."""
    return {name: _redacted(value) for name, value in event.items()}


def _redacted(value: Any) -> Any:
    if isinstance(value, bool | int | float | None):
        return value
    return _KEY.sub(REDACTED, value if isinstance(value, str) else repr(value))


def configure_logging(level: int = logging.WARNING) -> None:
    """Send structlog and the standard library's loggers (uvicorn's too) to one handler."""
    first: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,  # request, experiment, stage, attempt
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,  # text: without the values of local variables
    ]
    structlog.configure(
        processors=[*first, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=first,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in ("celery", "kombu", "httpx"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
