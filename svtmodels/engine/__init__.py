"""Fast inference on the CPU: work is done where spikes are, and nowhere else."""
