"""The answers that the benchmark of the orchestrator gives without looking at the jobs."""

from __future__ import annotations

import pytest

from bench.answerer import answers, plain_answers
from gokiq import core
from gokiq.core import Job

PLAIN = b'{"class":"A","jid":"1","args":[%d]}'


def ended(payloads: list[bytes], kind: int) -> list[tuple[int, int]]:
    """Number and time of the jobs that end well by the answer, numbered from 300; none is left."""
    jobs = [Job(300 + i, 0, payload, 0.0) for i, payload in enumerate(payloads)]
    (frame,) = core.encode_batch(jobs)
    assert frame[4] == kind
    answer = plain_answers if kind == core.PLAIN else answers
    reader = core.FrameReader(frozenset({core.DONE, core.RESULTS}))
    ((answered, body),) = reader.feed(answer(frame[core.HEADER_BYTES :], 7))
    out: dict[int, Job] = {}
    core.open_jobs(jobs, out)
    well = (core.end_done if answered == core.DONE else core.end_jobs)(body, out)[0]
    assert out == {}
    return [(job.number, job.elapsed_us) for job in well[0]]


@pytest.mark.parametrize(
    ("payloads", "kind"),
    [([PLAIN % 1, PLAIN % 12_345, PLAIN % 9], core.PLAIN), ([b"[1]", b"[2]", b"[3]"], core.BATCH)],
    ids=["plain", "batch"],
)
def test_every_job_of_a_frame_is_answered(payloads: list[bytes], kind: int) -> None:
    assert ended(payloads, kind) == [(300, 7), (301, 7), (302, 7)]


def test_payloads_of_several_lengths_are_refused_in_a_batch() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        ended([b"[1]", b"[22]", b"[3]"], core.BATCH)
