import threading
import warnings

from tddfa._shared.reading.quiet import without_warnings


def test_filters_are_restored_though_threads_overlap():
    """The first thread leaves last: with `warnings.catch_warnings` alone, all warnings would stay ignored."""
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def first():
        with without_warnings():
            inside.set()
            leave.wait(10)

    def second():
        with without_warnings():
            warnings.warn("not shown", stacklevel=1)

    threads = [threading.Thread(target=each) for each in (first, second)]
    threads[0].start()
    inside.wait(10)
    threads[1].start()
    threads[1].join(0.1)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert warnings.filters == before
