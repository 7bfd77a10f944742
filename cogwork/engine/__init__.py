"""The engine: executions through a durable queue, in workers that may die, and the verbs that start and move them."""
