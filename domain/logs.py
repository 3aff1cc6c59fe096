"""Logging of every process: one line an event, JSON in production, with nothing in it that a person or a carrier sent."""

import logging
import logging.config

import structlog

from domain.settings import Settings

# What a line may say beside its text (`logger.info(…, extra=…)`): ids, words of this program's own, and numbers.
FIELDS = (
    *("request_id", "delivery", "channel", "kind", "attempt", "seconds"),
    *("operation", "fields", "outcome"),
)


def configure(settings: Settings) -> None:
    """Set logging up for this process. Control characters in texts are escaped, so that nobody forges a line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=FIELDS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=False) if settings.is_development else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _escape_event,
            renderer,
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    # At debug level these print statements, commands and bodies with people's addresses and codes in them.
    for chatty in (
        "tortoise",
        "asyncpg",
        "aiosmtplib",
        "httpx",
        "httpcore",
        "asyncio",
        "dramatiq",
        "uvicorn.access",
        "urllib3",
    ):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


def _escape_event(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    text = str(event.get("event", ""))
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    event["event"] = text
    return event
