"""A new data set: which model fits it, what to annotate of it, what that buys, and fine-tuning to it."""
