"""The task `caption`: image captioning."""
