#include <gtest/gtest.h>
TEST(Halo, Exchanges) { RecordProperty("size", 4); EXPECT_EQ(1, 1); }
TEST(Halo, Fails) { EXPECT_EQ(1, 2) << "one & two"; EXPECT_EQ(3, 4); }
TEST(Halo, Skips) { GTEST_SKIP() << "no GPU"; }
TEST(Halo, DISABLED_Later) {}
class P : public testing::TestWithParam<int> {};
TEST_P(P, Even) { EXPECT_EQ(GetParam() % 2, 0); }
INSTANTIATE_TEST_SUITE_P(Numbers, P, testing::Values(2, 4));
class Env : public testing::Test { public: static void SetUpTestSuite() { if (getenv("BADSUITE")) FAIL() << "suite set-up"; } };
TEST_F(Env, Works) {}
