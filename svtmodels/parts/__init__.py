"""The parts that all networks are made of: synapses, neurons, attentions, token selection."""
