use Test::More tests => 7;
ok(1, 'adds');
ok(0, 'fails');
SKIP: { skip 'no GPU', 1; ok(1); }
TODO: { local $TODO = 'known bug'; ok(0, 'todo fails'); ok(1, 'todo passes'); }
is("a", "b", 'letters');
subtest 'inner' => sub { plan tests => 2; ok(1, 'one'); ok(1, 'two'); };
