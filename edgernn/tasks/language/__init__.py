"""The task `language`: language models."""
