import logging

from tddfa._shared.terminal.printing import LogHandler, printable


def test_names_cannot_act_on_the_terminal():
    hostile = "a\x1b]0;title\x07b\r\nc\x9b2Jd\u202egpj\u2028e\udcfff\ud800"
    assert printable(hostile) == r"a\x1b]0;title\x07b\r\nc\x9b2Jd\u202egpj\u2028e\xfff\ud800"
    assert printable("naïve 日本 😀 …\N{ZERO WIDTH JOINER}") == "naïve 日本 😀 …\N{ZERO WIDTH JOINER}"


def test_log_lines_are_one_line(capsys):
    LogHandler().handle(logging.makeLogRecord({"msg": "%s: cut\nshort", "args": ("a\x1b[2J",)}))
    assert capsys.readouterr().err == "a\\x1b[2J: cut\\nshort\n"
