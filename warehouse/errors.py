"""What can be wrong with the sales database or with rows on their way into it."""


class WarehouseError(Exception):
    """The message says what is wrong and what to do."""


class LoadError(WarehouseError):
    """The rows cannot be loaded."""


class UnreachableError(WarehouseError):
    """PostgreSQL does not answer, or refuses the role."""


class ModelError(WarehouseError):
    """A stored model cannot make the forecasts that were requested."""


class NotFoundError(WarehouseError):
    """What was asked for is not there."""
