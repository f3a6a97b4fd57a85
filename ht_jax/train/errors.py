"""The error of a user's making: one line that quotes the value and says what to do.

Programs print it without a traceback and leave with status 2.
"""


class UserError(ValueError):
    """A value that the user chose and can change."""
