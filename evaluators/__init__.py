"""Says how good a candidate is: data, staged evaluation, costs, training."""
