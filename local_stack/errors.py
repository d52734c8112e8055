"""The one exception that a user of the stack sees as a single line."""


class StackError(Exception):
    """Something the user can mend: the message says what is wrong and what to do.

    The command line prints the message without a traceback and exits non-zero.
    """
