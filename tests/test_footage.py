"""The verbs `adapt` and `serve`, as far as they can be refused."""

from liir.cli import main


def test_refusals_in_one_line(tmp_path, capsys):
    for words in (
        ["adapt", "--out", str(tmp_path / "a.safetensors")],
        ["adapt", str(tmp_path), "--out", str(tmp_path / "a.safetensors"), "--steps", "1"],
        ["serve", str(tmp_path / "none.mp4"), "--projects", str(tmp_path / "p"), "--no-browser"],
        ["serve", "--projects", str(tmp_path), "--port", "99999", "--no-browser"],
    ):
        assert main(words) == 2, words
        told = capsys.readouterr().err
        assert told.startswith("liir: error: ")
        assert told.count("\n") == 1
