"""Who calls, and what they may: principals, their roles, their tokens, and the log of what they did."""
