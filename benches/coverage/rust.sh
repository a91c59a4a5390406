# ripgrep (Rust): `build` makes the program, `one NUMBER` runs it once. Both are called in a directory of its own.

build() {
    RUSTFLAGS=-Cinstrument-coverage cargo install ripgrep --version 15.2.0 --locked --root . --target-dir build
}
words=(fn let struct 'a.*b' impl '[0-9]+' 'x{2,3}' TODO use mod pub '\w+::\w+' true)
one() {
    local options=()
    [ $(($1 % 3)) = 0 ] && options+=(-i)
    [ $(($1 % 5)) = 0 ] && options+=(-c)
    [ $(($1 % 7)) = 0 ] && options+=(--json)
    LLVM_PROFILE_FILE=real/$(printf %05d $1).profraw bin/rg "${options[@]}" "${words[$(($1 % 13))]}" ../../../src/coverage >/dev/null || true
}
