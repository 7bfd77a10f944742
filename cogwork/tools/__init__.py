"""Tools: how Python functions become them, how they are called, and the ones that are built in."""
