"""The suite. A package, so that none of a dependency that is called `tests` takes its place."""
