"""Errors that a user can mend."""


class UserError(ValueError):
    """Something in the input is wrong; the message is one sentence that names the fix.

    The command line prints it as one line and exits with status 2, without a traceback.
    """
