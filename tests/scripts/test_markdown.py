"""Tables in Markdown."""

from scripts.markdown import table


def test_a_table_has_headings_a_rule_and_rows():
    text = table(("name", ""), [("one", 1), ["two", ""]])
    assert text == "| name |  |\n| --- | --- |\n| one | 1 |\n| two |  |"
