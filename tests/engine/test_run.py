"""The handle of a run, over work of any kind: events, waiting, stopping, and observers that fail."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import threading
import time
import warnings
from collections.abc import Callable

import pytest

from evolgen.engine import run as run_module
from evolgen.engine.run import Run
from evolgen.errors import Interrupted, UsageError
from evolgen.events import Event, Notice


def telling(run: Run[int], count: int, gate: threading.Event | None = None) -> Callable[[], int]:
    """Work that tells so many events, once the gate is open."""

    def work() -> int:
        if gate is not None:
            assert gate.wait(60)
        for number in range(count):
            run.tell(Notice(str(number)).told_by(run.id, "work"))
        return count

    return work


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def test_it_goes_on_whether_or_not_anybody_watches() -> None:
    run: Run[int] = Run()
    assert run.summary is None
    run.begin(telling(run, 3))
    assert run.result() == run.result() == run.summary == 3
    events = list(run.events())
    assert texts(events) == ["0", "1", "2"]
    assert {(event.run, event.stage) for event in events} == {(run.id, "work")}
    assert list(run.events()) == [], "iterating after the end ends"
    assert run.dropped == 0


def test_events_are_read_while_it_goes_with_a_loop_and_without() -> None:
    async def read(run: Run[int], gate: threading.Event) -> list[Event]:
        found: list[Event] = []
        asyncio.get_running_loop().call_later(0.05, gate.set)
        async for event in run:
            found.append(event)
        return found

    for _ in range(2):
        gate = threading.Event()
        run: Run[int] = Run()
        run.begin(telling(run, 500, gate))
        assert texts(asyncio.run(read(run, gate))) == [str(number) for number in range(500)]
        assert run.summary == 500
    gate = threading.Event()
    run = Run()
    run.begin(telling(run, 500, gate))
    threading.Timer(0.05, gate.set).start()
    assert len(list(run.events())) == 500


def test_the_first_unread_events_are_kept_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "UNREAD", 10)
    run: Run[int] = Run()
    run.begin(telling(run, 25))
    run.result()
    assert texts(list(run.events())) == [str(number) for number in range(10)]
    assert run.dropped == 15


def test_what_the_work_raises_is_raised_to_all_who_wait() -> None:
    def work() -> int:
        raise UsageError("it is wrong")

    run: Run[int] = Run()
    run.begin(work)
    for _ in range(2):
        with pytest.raises(UsageError, match="it is wrong"):
            run.result()
    with pytest.raises(UsageError, match="it is wrong"):
        asyncio.run(run.wait())
    assert run.summary is None
    assert list(run.events()) == []


def _opened(gate: threading.Event, run: Run[int]) -> int:
    gate.set()
    return run.result()


def test_an_observer_that_raises_is_named_once_and_called_no_more() -> None:
    heard: list[str] = []

    def grumpy(event: Event) -> None:
        heard.append(str(event))
        raise KeyError("no")

    gate = threading.Event()
    run: Run[int] = Run(grumpy)
    run.begin(telling(run, 3, gate))
    with pytest.warns(RuntimeWarning, match=r"the observer .*grumpy raised KeyError \('no'\): it is called no more"):
        _opened(gate, run)
    assert len(heard) == 1
    told = texts(list(run.events()))
    assert [text for text in told if text.isdigit()] == ["0", "1", "2"]
    assert sum("called no more" in text for text in told) == 1


def test_a_stop_is_heard_by_work_without_a_loop() -> None:
    run: Run[int] = Run()

    def work() -> int:
        while True:
            run.stopping.check()
            time.sleep(0.001)

    run.begin(work)
    run.stop()
    with pytest.raises(Interrupted):
        run.result()


def test_who_waits_no_longer_leaves_the_run_as_it_is() -> None:
    gate = threading.Event()
    run: Run[int] = Run()
    run.begin(telling(run, 1, gate))

    async def wait_a_little() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.wait(), 0.05)

    asyncio.run(wait_a_little())
    gate.set()
    assert run.result() == 1


def press_ctrl_c() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def test_each_ctrl_c_while_waiting_stops_the_run_before_it_goes_on() -> None:
    run: Run[int] = Run()
    heard: list[int] = []
    twice = threading.Event()

    def hear(times: int) -> None:
        heard.append(times)
        if times == 1:
            threading.Timer(0.05, press_ctrl_c).start()  # an impatient person
        else:
            twice.set()

    def work() -> int:
        with run.stopping.heard_by(hear):
            threading.Timer(0.2, press_ctrl_c).start()  # by then somebody waits
            assert twice.wait(60)
        return 7

    run.begin(work)
    with pytest.raises(KeyboardInterrupt):
        run.result()
    assert heard == [1, 2]
    assert run.result() == run.summary == 7


def test_an_observer_is_dropped_whatever_it_raises_and_even_where_warnings_are_errors() -> None:
    def leaving(event: Event) -> None:
        raise SystemExit(5)

    run: Run[int] = Run(leaving)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.begin(telling(run, 3))
        assert run.result() == 3
    assert sum("raised SystemExit" in text for text in texts(list(run.events()))) == 1


def test_an_observer_can_not_wait_for_its_own_run() -> None:
    problems: list[str] = []

    def waiting(event: Event) -> None:
        for wait in (run.result, run.events):
            try:
                wait()
            except RuntimeError as error:
                problems.append(str(error))

    run: Run[int] = Run(waiting)
    run.begin(telling(run, 1))
    assert run.result() == 1
    assert problems == ["an observer can't wait for its own run: the run waits for the observer"] * 2


def test_a_failure_that_nobody_asked_for_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    def failing() -> int:
        raise UsageError("no such thing")

    for ask in (True, False):
        run: Run[int] = Run()
        run.begin(failing)
        assert list(run.events()) == []
        if ask:
            with pytest.raises(UsageError):
                run.result()
        id = run.id
        del run
        gc.collect()
        said = f"evolgen: run {id} failed, and nobody asked for its result: UsageError: no such thing\n"
        assert capfd.readouterr().err == ("" if ask else said)


def test_readers_that_were_cancelled_are_forgotten() -> None:
    gate = threading.Event()
    run: Run[int] = Run()
    run.begin(telling(run, 1, gate))

    async def look_in() -> None:
        for _ in range(5):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(anext(aiter(run)), 0.01)

    asyncio.run(look_in())
    assert not run._unread._readers
    gate.set()
    assert run.result() == 1


def test_a_text_that_is_none_can_be_written_as_json() -> None:
    text = Notice("half a \ud83d").to_json()
    assert json.loads(text.encode())["text"] == "half a \ud83d"


def test_events_are_written_as_json() -> None:
    event = Notice('it says "hi"').told_by("a1", "2-evolve")
    assert json.loads(event.to_json()) == {
        "event": "notice", "run": "a1", "stage": "2-evolve", "text": 'it says "hi"',
    }  # fmt: skip
