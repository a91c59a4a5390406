"""Rows that Google Benchmark skips. Its Python bindings leave SkipWithMessage out; the library inside them has it."""
import ctypes

import google_benchmark
from google_benchmark import _benchmark

LIBRARY = ctypes.CDLL(_benchmark.__file__)


class String(ctypes.Structure):
    """std::string of today: where its text is, how long it is, and room for short ones."""

    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("room", ctypes.c_char * 16)]


class OldString(ctypes.Structure):
    """What stands before the text of a std::string of the older kind, of which the string itself is a pointer to the text."""

    _fields_ = [("size", ctypes.c_size_t), ("capacity", ctypes.c_size_t), ("owners", ctypes.c_long), ("text", ctypes.c_char * 64)]


def skip(state, message):
    text = message.encode()
    # Behind the head of a Python object, pybind11 (1.8) has the pointer itself, nanobind (1.9) how far away it is.
    at = id(state) + 16
    offset = ctypes.c_int32.from_address(at).value
    pointer = ctypes.c_void_p.from_address(id(state) + offset if 16 < offset < 64 else at)
    try:
        call = LIBRARY._ZN9benchmark5State15SkipWithMessageERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE
        string = String(text, len(text))
    except AttributeError:
        call = LIBRARY._ZN9benchmark5State15SkipWithMessageERKSs
        old = OldString(len(text), len(text), -1, text)
        string = ctypes.c_void_p(ctypes.addressof(old) + OldString.text.offset)
    call(pointer, ctypes.byref(string))


@google_benchmark.register
def axpy(state):
    while state:
        sum(range(100))


@google_benchmark.register
def axpy_gpu(state):
    skip(state, "no GPU on this node")
    while state:
        pass


@google_benchmark.register
def axpy_broken(state):
    state.skip_with_error("no device")
    while state:
        pass


if __name__ == "__main__":
    google_benchmark.main()
