"""Errors of the sales database, and of rows that cannot be loaded into it."""

#: What drivers write when PostgreSQL is there and the address does not fit it.
_REFUSALS = (
    "authentication failed",
    "certificate",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "not permitted to log in",
    "permission denied",
    "does not support SSL",
    "invalid response to SSL negotiation",
)


class WarehouseError(Exception):
    """Base class of this package's errors; the message says what is wrong and what to do."""


class LoadError(WarehouseError):
    """The rows cannot be loaded."""


class UnreachableError(WarehouseError):
    """PostgreSQL does not answer, or it refuses the role."""

    @classmethod
    def of_driver(cls, error: object) -> "UnreachableError":
        """Return the error for one of a driver's: whether no answer came, or a refusal."""
        lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
        # One line for each address and way that was tried; the first need not be the telling one.
        for line in lines:
            if any(part in line for part in _REFUSALS):
                return cls(
                    f"the sales database cannot be entered ({line}); check user, password, "
                    "database, sslmode and sslrootcert in its address"
                )
        reason = lines[0] if lines else type(error).__name__
        return cls(
            f"the sales database does not answer ({reason}); check that PostgreSQL is running and "
            "that its address is right"
        )


class ModelError(WarehouseError):
    """A stored model cannot make the forecasts that were requested."""


class CalendarError(WarehouseError):
    """The settings' calendar contradicts what is stored."""


class NotFoundError(WarehouseError):
    """The requested rows do not exist."""


class NotYetError(NotFoundError):
    """The requested rows do not exist yet; they come without anybody doing anything."""
