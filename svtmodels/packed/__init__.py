"""The packed format: a file that is really as small as the model."""
