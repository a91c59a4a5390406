"""Writes an object whose coverage mapping is a bomb: object.py KIND FILE [SIZE]."""

import hashlib
import struct
import sys
import zlib


def number(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def md5(data):
    return struct.unpack("<Q", hashlib.md5(data).digest()[:8])[0]


def padded(data):
    return data + bytes(-len(data) % 8)


def packed(text):
    data = zlib.compress(text, 9)
    return number(len(text)) + number(len(data)) + data


def plain(text):
    return number(len(text)) + number(0) + text


def unit(files):
    """The files of a translation unit: the directory of the compilation is the first."""
    text = b"".join(number(len(name)) + name for name in files)
    encoded = number(len(files)) + plain(text)
    return encoded, padded(struct.pack("<IIII", 0, len(encoded), 0, 5) + encoded)


def function(name, encoded, mapping):
    head = struct.pack("<QIQQ", md5(name), len(mapping), 1, md5(encoded))
    return padded(head + mapping)


def region(kind, down, column, lines, end):
    return number(kind) + number(down) + number(column) + number(lines) + number(end)


CODE = 1  # the first counter
FIRST = region(CODE, 1, 1, 0, 5)


def mapping(files, regions):
    """Numbers of files within the unit, no expression, and the regions of each file."""
    out = number(len(files)) + b"".join(map(number, files)) + number(0)
    return out + b"".join(number(len(some)) + b"".join(some) for some in regions)


def expansion(to, column=2):
    return region(to << 3 | 4, 0, column, 0, column + 1)


def elf(sections):
    body, names, headers = b"", b"\0", bytes(64)
    sections = sections + [(".shstrtab", None)]
    for name, data in sections:
        at = len(names)
        names += name.encode() + b"\0"
        data = names if data is None else data
        kind = 3 if name == ".shstrtab" else 1
        headers += struct.pack("<IIQQQQIIQQ", at, kind, 0, 0, 64 + len(body), len(data), 0, 0, 4, 0)
        body += padded(data)
    count = len(sections) + 1
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, count, count - 1)
    return head + body + headers


def sections(kind, size):
    name = b"f"
    names = [name]
    encoded, covmap = unit([b"/code", b"a.c"])
    covfun = function(name, encoded, mapping([1], [[FIRST]]))
    if kind == "names":
        # Each text is nothing but the ends of names.
        texts = b"".join(packed(b"\1" * (1 << 23) + b"%d" % at) for at in range(size))
        return covmap, covfun, plain(name) + texts
    if kind == "directory":
        encoded, covmap = unit([b"/" + b"d" * size] + [b"%d" % at for at in range(size)])
        covfun = function(name, encoded, mapping([1], [[FIRST]]))
    if kind == "lines":
        files = [b"/code"] + [b"%d.c" % at for at in range(size)]
        encoded, covmap = unit(files)
        names = [b"f%d" % at for at in range(size)]
        whole = region(CODE, 1, 1, (1 << 22) - 2, 5)
        covfun = b"".join(function(f, encoded, mapping([at + 1], [[whole]])) for at, f in enumerate(names))
    if kind == "chain":
        # The innermost text last, so that a count takes as many rounds as there are macros.
        of_file = [[FIRST, expansion(1)]]
        of_file += [[region((at + 1) << 3 | 4, 1, 1, 0, 2)] for at in range(1, size)] + [[FIRST]]
        covfun = function(name, encoded, mapping([1] * (size + 1), of_file))
    if kind == "doubling":
        of_file = [[FIRST, expansion(at + 1), expansion(at + 1, 4)] for at in range(size)] + [[FIRST]]
        covfun = function(name, encoded, mapping([1] * (size + 1), of_file))
    if kind == "ways":
        # A branch in the innermost of many macros is reached by a long way; here are many branches.
        of_file = [[FIRST, expansion(at + 1)] for at in range(size)]
        branch = number(4 << 3) + number(1) + number(1) + number(1) + number(1) + number(0) + number(3)
        of_file += [[FIRST] + [branch] * size]
        covfun = function(name, encoded, mapping([1] * (size + 1), of_file))
    if kind == "shapes":
        # Each region of a function is looked at for each of its files.
        encoded, covmap = unit([b"/code"] + [b"%d.c" % at for at in range(size)])
        of_file = [[FIRST] + [region(CODE, 0, at + 6, 0, at + 7) for at in range(4)]] * size
        covfun = function(name, encoded, mapping(range(1, size + 1), of_file))
    if kind == "injected":
        names = [b"f\nDA:7,7\nend_of_record\nSF:forged.c\nDA:1,1\rDA:2,1\xe2\x80\xa8DA:3,1"]
        encoded, covmap = unit([b"/code", b"a.c\nFN:1,forged\nTN:forged"])
        covfun = function(names[0], encoded, mapping([1], [[FIRST]]))
    return covmap, covfun, plain(b"\1".join(names))


kind, path = sys.argv[1:3]
size = int(sys.argv[3]) if len(sys.argv) > 3 else 0
covmap, covfun, names = sections(kind, size)
with open(path, "wb") as out:
    out.write(elf([("__llvm_covmap", covmap), ("__llvm_covfun", covfun), ("__llvm_prf_names", names)]))
