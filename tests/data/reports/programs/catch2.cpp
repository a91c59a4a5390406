#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
TEST_CASE("sums", "[fast]") { REQUIRE(1 + 1 == 2); SECTION("big") { CHECK(2 == 2); } SECTION("small") { CHECK(1 == 2); } }
TEST_CASE("throws") { throw std::runtime_error("bad <thing>"); }
TEST_CASE("may fail", "[!mayfail]") { CHECK(1 == 2); }
TEST_CASE("should fail", "[!shouldfail]") { CHECK(1 == 2); }
TEST_CASE("hidden", "[.]") { }
