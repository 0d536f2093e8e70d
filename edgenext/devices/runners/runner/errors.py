"""What may go wrong."""


class JobError(Exception):
    """The job cannot be done here; the message is for the user."""
