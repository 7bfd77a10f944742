"""From a spec as text to a compiled LangGraph graph; pure, and without any connection to the outside."""
