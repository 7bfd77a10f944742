"""What is true: values, records, errors and events, and the services that nodes may call."""
