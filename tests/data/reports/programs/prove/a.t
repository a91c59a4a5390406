use Test::More tests => 4;
ok(1,'adds'); ok(1,'more'); TODO: { local $TODO='bug'; ok(0,'later'); } SKIP: { skip 'no GPU',1; ok(1); }
