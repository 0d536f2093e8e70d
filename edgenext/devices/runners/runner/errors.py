"""The runner's errors."""


class JobError(Exception):
    """The job cannot run on this device; the message is for the user."""
