"""The one exception for what a user can put right."""


class UserError(ValueError):
    """A mistake in arguments, files or data that the user can mend.

    The message is one line that names the argument or file, what was expected and what was found. The scripts print it
    as `error: MESSAGE` on stderr and leave with exit code 2, without a traceback.
    """
