"""core: what is repeated of an error that someone else raised."""

from alif_kit.core.errors import first_line


def test_the_first_line_of_an_error_never_holds_the_secret_and_an_empty_secret_changes_nothing():
    assert first_line(OSError("401 for hf_canary\nmore of hf_canary"), "hf_canary", "token") == "401 for <token>"
    assert first_line(OSError("401"), "", "token") == "401"
    assert first_line(OSError()) == "OSError"
