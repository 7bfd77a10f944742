"""Running a workflow on mocks: every path through it, and the tests that a spec holds."""
