"""The document of the HTTP door is true: what is asked from it, right or wrong, gets no answer that it does not tell of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.apis import attacked, listening, missing

pytestmark = [pytest.mark.req("M10"), pytest.mark.timeout(600)]


def test_no_request_from_the_document_gets_a_server_error_or_an_answer_that_it_does_not_tell_of(tmp_path: Path) -> None:
    if (why := missing()) is not None:
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with listening(tmp_path) as door:
        found = attacked(door.address, examples=2)
    assert found.well, found.told
