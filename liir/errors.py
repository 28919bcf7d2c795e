"""The one exception that means: what the user gave cannot be used, and here is how to mend it."""


class InputError(ValueError):
    """Bad input: one line that names what, where and how to mend it (exit code 2 in the CLI)."""


class ToldElsewhere(InputError):
    """Bad input that another process of the same run has met, and tells: once is enough."""
