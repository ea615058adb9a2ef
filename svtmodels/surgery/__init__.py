"""What may be done to a network: channels, tokens, bits and time steps."""
