"""The ways in which a run ends early without being at fault: each says in one line what to do.

Programs print it without a traceback and leave with a status of its own (`ht_jax.train.command`).
"""


class UserError(ValueError):
    """A value that the user chose and can change.

    Example:
        >>> raise UserError("steps 0 must be at least 1")
        Traceback (most recent call last):
        ht_jax.train.errors.UserError: steps 0 must be at least 1
    """


class NotFinite(UserError):
    """Too many steps in a row whose loss or gradient is not finite.

    Args:
        message: One line.
        step: The last of them.
        count: How many there were.
    """

    def __init__(self, message: str, step: int, count: int):
        super().__init__(message)
        self.step: int = step
        self.count: int = count


class Stopped(Exception):
    """A signal ended the run between two steps, everything saved; the same command resumes.

    Example:
        >>> try:
        ...     raise Stopped("stopped after step 120: the same command resumes")
        ... except Stopped as stop:
        ...     print(stop)
        stopped after step 120: the same command resumes
    """
