"""The assets, one module each: they read, call `core`, replace, and say what they did."""
