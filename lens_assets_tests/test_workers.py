"""Threads that share work: order, bounds, and what is not a number of threads."""

import threading
import time

import pytest

from lens_assets.workers import in_order, worker_count


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_work(workers):
    slow_first = lambda item: (time.sleep(0.02 if item == 0 else 0.0), item)[1]  # noqa: E731
    assert list(in_order(slow_first, range(7), workers)) == list(range(7))


def test_no_more_are_at_work_than_workers():
    lock, now, most = threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return item

    assert list(in_order(work, range(12), 2)) == list(range(12))
    assert most == 2


def test_a_failure_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 // item, [1, 0, 2, 3], 2))


@pytest.mark.parametrize("stated", ["0", "-1", "two", "1.5"])
def test_what_is_not_a_number_of_threads_is_refused(stated, monkeypatch):
    monkeypatch.setenv("LENS_WORKERS", stated)
    with pytest.raises(ValueError, match=f"LENS_WORKERS is '{stated}'; expected a number of threads"):
        worker_count()


def test_the_variable_counts(monkeypatch):
    monkeypatch.setenv("LENS_WORKERS", "5")
    assert worker_count() == 5
    monkeypatch.delenv("LENS_WORKERS")
    assert worker_count() >= 1
