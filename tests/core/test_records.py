"""records: ids, files that survive a kill, and errors that name file and line."""

import json

import pytest

from alif_kit.core.errors import UserError
from alif_kit.core.records import AppendOnly, Document, Example, Provenance, SeedTask, from_dict, read_jsonl, to_dict, write_jsonl


def seed(**changes):
    return SeedTask(**{"category": "qa", "instruction": "پانی کیا ہے؟", "output": "پانی ایک مائع ہے۔", **changes})


def test_ids_come_from_content_alone():
    assert seed().id == seed(meta={"topic": "سائنس"}).id
    assert seed().id != seed(output="پانی ایک مرکب ہے۔").id
    assert len(seed().id) == 16


def test_an_example_goes_through_a_file_unchanged(tmp_path):
    example = Example(
        "sentiment",
        "جذبہ بتائیں۔",
        "مثبت",
        "بہت اچھا دن تھا۔",
        ("مثبت", "منفی"),
        {},
        Provenance("t", 3, 1, "h", ("a",), ("b",), {"f": 0.5}),
    )
    write_jsonl(tmp_path / "x.jsonl", [example])
    assert list(read_jsonl(tmp_path / "x.jsonl", Example)) == [example]
    assert to_dict(example)["id"] == example.id


@pytest.mark.parametrize(
    "row, words",
    [
        ({"category": "poetry", "instruction": "a", "output": "b"}, "category is 'poetry'"),
        ({"category": "qa", "instruction": " ", "output": "b"}, "instruction is ' '"),
        ({"category": "qa", "instruction": "a"}, "output"),
        ({"category": "qa", "instruction": "a", "output": "b", "colour": 1}, "unknown key 'colour'"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_key(tmp_path, row, words):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(to_dict(seed())) + "\n" + json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        list(read_jsonl(path, SeedTask))
    assert f"{path}, line 2" in str(caught.value) and words in str(caught.value)


def test_a_document_has_a_known_split():
    with pytest.raises(UserError, match="split is 'test'"):
        from_dict(Document, {"text": "متن", "split": "test"})


def test_a_torn_last_line_is_left_out_and_cut_before_the_next_append(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes('{"n": 1}\n{"n": 2, "متن": "آدھ'.encode())
    assert list(read_jsonl(path)) == [{"n": 1}]
    with AppendOnly(path) as journal:
        journal.append({"n": 3})
    assert list(read_jsonl(path)) == [{"n": 1}, {"n": 3}]


def test_a_torn_line_longer_than_a_read_block_is_cut(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n": 1}\n' + b"x" * 200_000)
    AppendOnly(path).close()
    assert path.read_bytes() == b'{"n": 1}\n'


def test_a_bad_line_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1}\n{"n":\n{"n": 3}\n')
    with pytest.raises(UserError, match="line 2: not JSON"):
        list(read_jsonl(path))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"n": 1}])

    def rows():
        yield {"n": 2}
        raise OSError("the disk is full")

    with pytest.raises(OSError):
        write_jsonl(path, rows())
    assert list(read_jsonl(path)) == [{"n": 1}]
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]
