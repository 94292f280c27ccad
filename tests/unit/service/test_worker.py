"""The thread beside the event loop."""

import asyncio
import sys
import threading

from pooler.service.worker import Worker


async def test_work_is_done_elsewhere_and_its_end_is_told_on_the_loop() -> None:
    loop = asyncio.get_running_loop()
    worker = Worker(loop.call_soon_threadsafe)
    seen: list[tuple[str, threading.Thread]] = []
    finished = asyncio.Event()
    for name in ("first", "second"):
        worker.submit(
            lambda name=name: seen.append((name, threading.current_thread())),  # type: ignore[misc]
            lambda: seen.append(("done", threading.current_thread())),
        )
    worker.submit(lambda: None, finished.set)
    await finished.wait()
    worker.close()
    names = [name for name, _ in seen]
    assert sorted(names) == ["done", "done", "first", "second"]
    assert names.index("first") < names.index("second")
    (thread,) = {thread for name, thread in seen if name != "done"}
    assert thread.daemon
    assert {thread for name, thread in seen if name == "done"} == {threading.current_thread()}


async def test_the_interpreter_changes_hands_more_often_while_it_works() -> None:
    before = sys.getswitchinterval()
    meanwhile: list[float] = []
    finished = asyncio.Event()
    worker = Worker(asyncio.get_running_loop().call_soon_threadsafe)
    worker.submit(lambda: meanwhile.append(sys.getswitchinterval()), finished.set)
    await finished.wait()
    worker.close()
    assert meanwhile[0] < before == sys.getswitchinterval()


def test_a_loop_that_is_closed_is_not_told() -> None:
    def closed(*_: object) -> None:
        told.set()
        raise RuntimeError("Event loop is closed")

    told, worked = threading.Event(), threading.Event()
    worker = Worker(closed)
    worker.submit(worked.set, lambda: None)
    assert worked.wait(10)
    assert told.wait(10)
    worker.submit(told.clear, lambda: None)
    worker.close()
