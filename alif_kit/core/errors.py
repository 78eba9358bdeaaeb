"""The two kinds of failure a person sees: a mistake they can correct, and a service or disk that let them down."""


class UserError(ValueError):
    """Bad option, file, row or key. One sentence: what was found, what was expected, what to change. Exit code 2."""

    exit_code = 2


class StoppedError(RuntimeError):
    """A service, budget or disk stopped the work. The sentence says what is saved and how to resume. Exit code 1."""

    exit_code = 1
