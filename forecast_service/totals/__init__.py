"""What the chain, groups of stores and single stores sell in sum, with intervals of the sums."""
