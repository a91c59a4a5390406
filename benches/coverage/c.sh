# SQLite (C): `build` makes the program, `one NUMBER` runs it once. Both are called in a directory of its own.

build() {
    mkdir -p fetch/src
    printf '[package]\nname = "fetch"\nedition = "2021"\n[workspace]\n[dependencies]\nlibsqlite3-sys = { version = "0.35", features = ["bundled"] }\n' >fetch/Cargo.toml
    echo >fetch/src/lib.rs
    (cd fetch && cargo vendor >/dev/null)
    cp fetch/vendor/libsqlite3-sys/sqlite3/sqlite3.[ch] .
    cat >main.c <<'EOF'
#include "sqlite3.h"
#include <stdio.h>
#include <stdlib.h>
static const char *const statements[] = {
    "select count(*), b from t group by b having count(*) > 1 order by 2",
    "select * from t where b like 'x1%' and c > 3",
    "update t set c = c * 2 where a % 3 = 0",
    "delete from t where c > 50",
    "select json_extract('{\"a\":[1,2]}', '$.a[1]')",
    "select sum(c) over (order by a) from t",
    "with recursive n(x) as (select 1 union all select x + 1 from n where x < 30) select avg(x) from n",
    "create view w as select a from t; select * from w limit 3",
    "vacuum",
    "explain query plan select * from t join t u on t.a = u.c",
    "select printf('%08.3f', c), hex(b), substr(b, 1, 2), date('now') from t",
    "pragma integrity_check",
};
int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) * 37 : 0;
    sqlite3 *db;
    sqlite3_open(":memory:", &db);
    sqlite3_exec(db, "create table t(a integer primary key, b text, c real); create index i on t(b)", 0, 0, 0);
    for (int i = 0; i < 20 + n % 50; i++) {
        char text[100];
        snprintf(text, sizeof text, "insert into t(b, c) values('x%d', %d.5)", (i * 7 + n) % 31, i);
        sqlite3_exec(db, text, 0, 0, 0);
    }
    for (int i = 0; i < 12; i++)
        if (!(n >> i & 1))
            sqlite3_exec(db, statements[i], 0, 0, 0);
    return sqlite3_close(db);
}
EOF
    clang-22 -O1 -fprofile-instr-generate -fcoverage-mapping main.c sqlite3.c -o bin/sqlite -lm -lpthread -ldl
}
one() { LLVM_PROFILE_FILE=real/$(printf %05d $1).profraw bin/sqlite $1 >/dev/null; }
