"""The offline model's reading of a goal: which clauses are steps."""

from cogwork.models.clauses import clauses


def test_after_both_begins_a_step_only_before_a_verb() -> None:
    steps = list(clauses("Write the text, then translate it, and after both publish it"))
    assert [step.title for step in steps] == ["Write the text", "translate it", "publish it"]
    steps = list(clauses("Publish it after both reviews are done"))
    assert [(step.title, step.after) for step in steps] == [("Publish it", ["both reviews are done"])]
