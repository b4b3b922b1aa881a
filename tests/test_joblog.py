"""Lines of a log that several attempts share: whole, and each with its time and its attempt."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import textwrap

from audioctl.joblog import JobContext, Level, as_text, json_line, lines_of_attempt, log_line

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[attempt (\d+|\?)\] (.*)\n")


def writes_of(program: str) -> list[str]:
    """What a program writes to its standard output and error, one entry a write."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    begin = "import sys; from audioctl.joblog import JobLog; log = JobLog()\n"
    with ours, theirs:
        command = [sys.executable, "-c", begin + textwrap.dedent(program)]
        with subprocess.Popen(command, stdout=theirs.fileno(), stderr=theirs.fileno()):
            theirs.close()
            return [packet.decode() for packet in iter(lambda: ours.recv(1 << 20), b"")]


def test_each_line_is_one_write_with_time_and_attempt() -> None:
    writes = writes_of("""
        import time
        from audioctl.cli.output import note
        from audioctl.cli.progress import LineDisplay
        from audioctl.pipeline.counters import Counters
        print("before", "it is known")
        log.attempt = 2
        note("a note" + " that is long" * 2000)
        note("of two\\nlines", style="bold red")
        LineDisplay("archive", Counters(), note).notify("without a second time")
        print("to standard error", file=sys.stderr)
        sys.stdout.write("in ")
        log.attempt = 3
        sys.stdout.write("pieces\\nand ")
        print("an end")
    """)
    matches = [LINE.fullmatch(write) for write in writes]
    assert None not in matches
    assert [(match[1], match[2]) for match in matches if match] == [
        ("?", "before it is known"),
        ("2", "a note" + " that is long" * 2000),
        ("2", "of two"),
        ("2", "lines"),
        ("2", "without a second time"),
        ("2", "to standard error"),
        ("3", "in pieces"),
        ("3", "and an end"),
    ]


def test_so_is_each_line_of_a_traceback_whichever_thread_it_comes_from() -> None:
    writes = writes_of("""
        import threading
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        raise RuntimeError("of the main thread")
    """)
    assert len(writes) > 4
    assert all(LINE.fullmatch(write) for write in writes)
    assert "ZeroDivisionError" in "".join(writes)
    assert writes[-1].endswith("RuntimeError: of the main thread\n")


def test_threads_that_print_at_the_same_time_keep_their_lines_whole() -> None:
    writes = writes_of("""
        import threading
        def talk(name):
            for number in range(100):
                print(name * 100)
        threads = [threading.Thread(target=talk, args=name) for name in "abcd"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """)
    texts = [match[2] for match in map(LINE.fullmatch, writes) if match]
    assert sorted(texts) == sorted(name * 100 for name in "abcd" for _ in range(100))


CONTEXT = JobContext("2025-01-25", "12_30", "20250126T080000Z-ab12", "123_75", "gpu3")


def test_with_a_context_each_line_is_json_with_its_level() -> None:
    writes = writes_of("""
        from audioctl.cli.output import note
        from audioctl.cli.progress import LineDisplay
        from audioctl.joblog import JobContext
        from audioctl.pipeline.counters import Counters
        print("before the settings are read")
        log.context = JobContext("2025-01-25", "12_30", "20250126T080000Z-ab12", "123_75", "gpu3")
        print("before it is known")
        log.attempt = 2
        display = LineDisplay("archive", Counters(), note)
        display.tell("It loads.")
        display.notify("Batch 3 waits.")
        note('It failed: "x.tar"\\nand \\u00e4', style="bold red")
        print("of a library", file=sys.stderr)
    """)
    assert LINE.fullmatch(writes[0])
    lines = [json.loads(write) for write in writes[1:]]
    assert all(write.endswith("}\n") and write.count("\n") == 1 for write in writes[1:])
    assert [(line["level"], line["attempt"], line["message"]) for line in lines] == [
        ("info", None, "before it is known"),
        ("info", 2, "It loads."),
        ("warning", 2, "Batch 3 waits."),
        ("error", 2, 'It failed: "x.tar"'),
        ("error", 2, "and \u00e4"),
        ("warning", 2, "of a library"),
    ]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line.pop("time"))
        del line["level"], line["attempt"], line["message"]
        assert line == CONTEXT._asdict()


def test_a_line_of_json_reads_as_text_and_any_other_as_it_is() -> None:
    text = log_line(2, "h\u00f6rt \u201ezu\u201c").encode()
    as_json = json_line(CONTEXT, 2, Level.INFO, "h\u00f6rt \u201ezu\u201c").encode()
    assert LINE.fullmatch(as_text(as_json).decode())
    assert as_text(as_json).partition(b" ")[2] == text.partition(b" ")[2]
    for other in (text, as_json[:-3], b'{"time":"of somebody else"}\n', b"\xff\n"):
        assert as_text(other) == other


def test_the_lines_of_an_attempt_are_found_among_lines_of_json_too() -> None:
    log = [
        log_line(None, "before the settings are read"),
        json_line(CONTEXT, None, Level.INFO, "a beginning"),
        json_line(CONTEXT, 1, Level.INFO, "first"),
        "of a library\n",
        json_line(CONTEXT, 2, Level.WARNING, "h\u00f6rt").encode().decode("latin-1"),
        log_line(1, "of a job that was submitted with text"),
    ]
    assert list(lines_of_attempt(log, 1)) == [*log[:4], log[5]]
    assert list(lines_of_attempt(log, 2)) == [log[4]]


def test_the_lines_of_an_attempt_are_found_in_the_log_of_all() -> None:
    log = [
        log_line(None, "a beginning"),
        log_line(1, "first"),
        "of a library\n",
        log_line(None, "second beginning"),
        log_line(2, "second"),
        log_line(1, "an old copy that runs on"),
        log_line(2, "second still"),
    ]
    assert list(lines_of_attempt(log, 1)) == [log[0], log[1], log[2], log[5]]
    assert list(lines_of_attempt(log, 2)) == [log[3], log[4], log[6]]
    assert list(lines_of_attempt(log, 3)) == []
