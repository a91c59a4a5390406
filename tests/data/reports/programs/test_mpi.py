import os
import pytest
from mpi4py import MPI

comm = MPI.COMM_WORLD


def test_sum():
    assert comm.allreduce(1) == comm.size


def test_rank_2_differs():
    assert comm.rank != 2, "rank 2 has another answer"


@pytest.mark.skip(reason="needs a GPU")
def test_gpu():
    pass


@pytest.mark.xfail(reason="known bug")
def test_known_bug():
    assert False


@pytest.mark.xfail(reason="fixed by accident")
def test_unexpected_pass():
    pass


@pytest.fixture
def broken():
    raise RuntimeError("no such device")


def test_setup_error(broken):
    pass


@pytest.mark.parametrize("n", [1, 2])
def test_param(n):
    assert n > 0


class TestClass:
    def test_method(self):
        pass


def test_last_rank_dies():
    if os.environ.get("DIE") and comm.rank == 3:
        os.kill(os.getpid(), 9)
