"""The task `glimpse`."""
