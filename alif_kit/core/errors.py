"""core: the two kinds of failure a person sees: a mistake they can correct, and a service or disk that let them down."""


class UserError(ValueError):
    """Bad option, file, row or key. One sentence: what was found, what was expected, what to change. Exit code 2."""

    exit_code = 2


class StoppedError(RuntimeError):
    """A service, budget or disk stopped the work. The sentence says what is saved and how to resume. Exit code 1."""

    exit_code = 1


def first_line(error: Exception, secret: str = "", name: str = "key") -> str:
    """What an error says first, 200 characters at most, `<name>` in the place of the secret; its class where it says nothing."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (line.replace(secret, f"<{name}>") if secret else line)[:200]
