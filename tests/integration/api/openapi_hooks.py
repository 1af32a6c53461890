"""Hooks of schemathesis: requests that no schema could come up with, since they make sense.

Without them no submission and no upload would succeed, and nothing that follows from one would be
tried. Few names, so that what was made is met again.
"""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, HookContext

from tests.support.api.rest import changed

CHECKSUMS = {"content-digest", "x-checksum-sha256"}
NAMES = st.integers(0, 3)  # 0 leaves the case as it is

Cases = st.SearchStrategy[Case]


def _is_positive(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


@schemathesis.hook("before_generate_case").apply_to(operation_id="experiments_submit")
def submit_what_can_run(_context: HookContext, strategy: Cases) -> Cases:
    def submit(case: Case, name: int) -> Case:
        if name and _is_positive(case):
            case.media_type = "application/json"
            case.body = changed(name=f"fuzzed-{name}")
        return case

    return st.builds(submit, strategy, NAMES)


@schemathesis.hook("before_generate_case").apply_to(operation_id="corpora_put")
def upload_what_can_be_read(_context: HookContext, strategy: Cases) -> Cases:
    def upload(case: Case, name: int) -> Case:
        if name and _is_positive(case):
            case.media_type = "application/octet-stream"
            case.body = b'{"text": "a document"}\n' * name
            case.path_parameters = {"name": f"fuzzed-{name}"}
            case.query = {"filename": "fuzzed.jsonl"}
            for header in [each for each in case.headers if each.lower() in CHECKSUMS]:
                del case.headers[header]
        return case

    return st.builds(upload, strategy, NAMES)
