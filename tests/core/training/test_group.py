"""How a process leaves the group of processes that training made."""

import os
import weakref

import pytest
import torch
from torch import distributed
from wellposed.errors import TrainingError
from wellposed.training import runtime

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch without groups")


@pytest.fixture
def group():
    """Make a group of this process alone."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield weakref.ref(distributed.group.WORLD)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def test_a_group_made_here_is_left(group):
    runtime._leave_group(os.getpid(), group)
    assert not distributed.is_initialized()
    runtime._leave_group(os.getpid(), group)  # and once is enough


def test_a_group_of_another_maker_stays(group):
    runtime._leave_group(os.getpid() + 1, group)  # after a fork, which copies no threads
    other = torch.nn.Linear(1, 1)
    runtime._leave_group(os.getpid(), weakref.ref(other))
    assert distributed.is_initialized()


def test_a_group_in_use_stays_until_it_is_not(group):
    wrapped = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
    runtime._leave_group(os.getpid(), group)
    assert distributed.is_initialized()
    del wrapped
    runtime._leave_group(os.getpid(), group)
    assert not distributed.is_initialized()


@pytest.mark.parametrize(("error", "kept"), [(TrainingError, True), (MemoryError, False)])
def test_after_an_unforeseen_error_nobody_is_waited_for(error, kept, monkeypatch):
    dropped = []
    monkeypatch.setattr(runtime.atexit, "unregister", dropped.append)
    with pytest.raises(error, match="here"), runtime.exchanging():
        raise error("here")
    assert dropped == ([] if kept else [runtime._leave_group])
