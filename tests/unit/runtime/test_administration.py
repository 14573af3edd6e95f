"""What an administrator's connection leaves behind that does not come about."""

import gc
import logging
import warnings

import pytest

from services.runtime import administration
from services.runtime.errors import Unavailable
from tests.support.ports import free_port


def test_brokers_that_are_away_leave_no_socket_open(caplog: pytest.LogCaptureFixture) -> None:
    """The library keeps it in a ring of objects: the warning would meet whichever test runs then."""
    caplog.set_level(logging.CRITICAL, "kafka")  # a record of the failure would keep the ring
    gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(Unavailable):
            administration.connect(f"127.0.0.1:{free_port()}", "admin", "a password", within_ms=100)
        gc.collect()

    assert [str(one.message) for one in told if one.category is ResourceWarning] == []
