"""Networks by name, what their channels mean, and the contract that travels with their weights."""
