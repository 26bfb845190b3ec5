import os
import signal
import threading

import pytest

from npseg.training.interruption import Interruption


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_is_a_request_and_the_second_an_order(capfd):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruption("saving soon") as interruption:  # noqa: PT012
        assert not interruption.requested
        press_ctrl_c()
        assert interruption.requested
        assert capfd.readouterr().err == "\nsaving soon\n"
        press_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is before


def test_afterwards_ctrl_c_interrupts_as_ever():
    with Interruption("saving soon"):
        pass
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c()


def test_other_threads_leave_signals_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with Interruption("saving soon") as interruption:
            seen.append((interruption.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
