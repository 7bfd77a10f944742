"""The web page for people who operate workflows."""
