"""Sessions with their conversations, and the memory that outlives them."""
