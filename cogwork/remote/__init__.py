"""Other instances of cogwork: which there are, which of them runs an execution, and the local record that mirrors it."""
