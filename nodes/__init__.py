"""The node kinds of the workflow language, and its expressions."""
