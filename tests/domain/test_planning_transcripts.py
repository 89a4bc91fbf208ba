"""Plans of small fleets that people have reviewed: a fleet in text, and the plan it gets.

To write down anew what the planner does: TRANSCRIBE=1 pytest tests/domain/test_planning_transcripts.py; then review.
"""

import os
from pathlib import Path

import pytest

from tests.support.planning_transcripts import transcribe

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_plan_is_as_reviewed(path: Path) -> None:
    reviewed = path.read_text()
    now = transcribe(reviewed)
    if os.environ.get("TRANSCRIBE"):
        path.write_text(now)
    assert now == reviewed
