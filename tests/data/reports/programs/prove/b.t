use Test::More;
ok(1,'adds'); ok(0,'bad'); subtest inner => sub { plan tests=>2; ok(1); ok(1,'x') }; done_testing;
