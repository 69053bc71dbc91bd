"""The task `pens`."""
