"""What cogwork costs beside plain LangGraph, measured; ``python -m benchmarks`` prints it."""
