# a C program of a few functions: `build` makes the program, `one NUMBER` runs it once. Both are called in a directory of its own.

build() {
    cp ../../../tests/data/llvm/src/basic.c ../../../tests/data/llvm/src/macros.h .
    clang-22 -fprofile-instr-generate -fcoverage-mapping basic.c -o bin/tiny
}
one() { LLVM_PROFILE_FILE=real/$(printf %05d $1).profraw bin/tiny $1 >/dev/null || true; }
