import os, pytest
def test_ok(): pass
def test_crash(): os.abort()
@pytest.mark.skip(reason="later")
def test_skip(): pass
@pytest.mark.xfail(strict=True)
def test_strict(): pass
@pytest.fixture
def bad():
    yield
    raise RuntimeError("teardown")
def test_teardown(bad): pass
def test_both(bad): assert 0
