"""What is seen from outside: traces, metrics and logs; with nothing configured it costs next to nothing."""
