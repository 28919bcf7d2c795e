"""What the command line opens, and no 500 whatever is asked."""

import os

import pytest

from liir.errors import InputError
from liir.page.server import Address, _bound, create_app, open_sources

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = 100 if os.environ.get("LIIR_HYPOTHESIS") == "thorough" else 4


def test_addresses():
    assert Address("127.0.0.1", 8000, None).url("dog") == "http://127.0.0.1:8000/#dog"
    assert Address("::1", 8000, "abc").url() == "http://[::1]:8000/?token=abc"
    with _bound("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(InputError, match="--port"):
            _bound("127.0.0.1", taken.getsockname()[1])


def test_sources(studio, clip, tmp_path):
    assert open_sources(studio, None) is None
    assert open_sources(studio, clip) == "square"
    assert open_sources(studio, clip.parent) == "square"
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError):
            open_sources(studio, wrong)


def test_a_broken_video_of_a_folder_is_left_out(studio, clip, tmp_path, caplog):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(clip.read_bytes()[:500])
    with pytest.raises(InputError, match=r"a\.mp4"):
        open_sources(studio, folder)
    (folder / "b.mp4").write_bytes(clip.read_bytes())
    assert open_sources(studio, folder) == "b"
    assert "a.mp4" in caplog.text


def test_whatever_is_asked_nothing_breaks(studio, clip):
    """Requests made from the description, on a project that is there."""
    import hypothesis

    number = studio.from_disk(clip)
    app = create_app(studio, "1")
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    asked = 0
    for operation in schema.get_all_operations():
        case = operation.ok()

        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=case.as_strategy())
        def ask(case):
            nonlocal asked
            if "project" in (case.path_parameters or {}) and case.method != "DELETE":
                case.path_parameters["project"] = number
            answer = case.call(app=app)
            assert answer.status_code < 500, (case.method, case.path, answer.text)
            asked += 1

        ask()
    assert asked > 50
