"""Subtests in every combination that pytest counts differently."""
import unittest

import pytest


def test_all_pass(subtests):
    for size in (1, 2, 3):
        with subtests.test(msg="halo", size=size):
            assert size > 0


def test_one_fails(subtests):
    for size in (1, 2, 3):
        with subtests.test(msg="halo", size=size):
            assert size != 2, "norm differs"


def test_two_fail(subtests):
    for size in (1, 2, 3):
        with subtests.test(size=size):
            assert size == 1


def test_one_skips(subtests):
    for size in (1, 2):
        with subtests.test(size=size):
            if size == 2:
                pytest.skip("no GPU")


def test_all_skip(subtests):
    for size in (1, 2):
        with subtests.test(size=size):
            pytest.skip("no GPU")


def test_one_xfails(subtests):
    with subtests.test(size=1):
        pytest.xfail("known bug")
    with subtests.test(size=2):
        assert True


@pytest.mark.xfail(reason="known bug")
def test_marked_xfail(subtests):
    with subtests.test(size=1):
        assert False


@pytest.mark.xfail(reason="known bug")
def test_marked_xfail_passes(subtests):
    with subtests.test(size=1):
        assert True


@pytest.mark.parametrize("ranks", [1, 2])
def test_parametrised(subtests, ranks):
    for size in (1, 2):
        with subtests.test(size=size):
            assert size != ranks


def test_fails_outside(subtests):
    with subtests.test(size=1):
        assert True
    assert False, "outside"


def test_fails_in_and_outside(subtests):
    with subtests.test(size=1):
        assert False, "inside"
    assert False, "outside"


@pytest.fixture
def broken_teardown():
    yield
    raise RuntimeError("teardown")


def test_teardown_fails(subtests, broken_teardown):
    with subtests.test(size=1):
        assert True


def test_skips_after(subtests):
    with subtests.test(size=1):
        assert True
    pytest.skip("the rest")


def test_plain():
    pass


class TestUnit(unittest.TestCase):
    def test_all_pass(self):
        for size in (1, 2, 3):
            with self.subTest(size=size):
                self.assertGreater(size, 0)

    def test_one_fails(self):
        for size in (1, 2, 3):
            with self.subTest("halo", size=size):
                self.assertNotEqual(size, 2)

    def test_one_errors(self):
        with self.subTest(size=1):
            raise RuntimeError("no device")

    def test_one_skips(self):
        for size in (1, 2):
            with self.subTest(size=size):
                if size == 2:
                    self.skipTest("no GPU")

    @unittest.expectedFailure
    def test_expected(self):
        with self.subTest(size=1):
            self.fail("known")
