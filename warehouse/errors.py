"""Errors of the sales database, and of rows that cannot be loaded into it."""


class WarehouseError(Exception):
    """Base class of this package's errors; the message says what is wrong and what to do."""


class LoadError(WarehouseError):
    """The rows cannot be loaded."""


class UnreachableError(WarehouseError):
    """PostgreSQL does not answer, or it refuses the role."""


class ModelError(WarehouseError):
    """A stored model cannot make the forecasts that were requested."""


class CalendarError(WarehouseError):
    """The settings' calendar contradicts what is stored."""


class NotFoundError(WarehouseError):
    """The requested rows do not exist."""


class NotYetError(NotFoundError):
    """The requested rows do not exist yet; they come without anybody doing anything."""
