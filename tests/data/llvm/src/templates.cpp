#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "templates.hpp"

namespace {
struct Shape {
    virtual ~Shape() = default;
    virtual int area() const { return 0; }
};
struct Square final : Shape {
    int side;
    explicit Square(int side) : side(side) {}
    int area() const override { return side * side; }
};
int local(int n) { return n ? n : throw std::runtime_error("zero"); }
} // namespace

template <class... T> int sum(T... values) {
    return (values + ... + 0);
}

int other(int);

int main(int argc, char **argv) {
    int n = argc > 1 ? std::atoi(argv[1]) : 0;
    Ring<int, 4> ints;
    Ring<double, 2> doubles;
    for (int i = 0; i < n; i++) {
        ints.push(i);
        doubles.push(i / 2.0);
    }
    int odd = ints.each([](int i) { return i % 2 == 1; });
    int large = doubles.each([n](double d) { return d > n / 4.0 && n != 3; });
    try {
        local(n - 2);
    } catch (const std::exception &) {
        odd += 100;
    }
    Square square(n);
    const Shape &shape = square;
    std::printf("%d %d %d %d %d %d %d\n", odd, large, shape.area(), sum(1, 2, n), sum(), factorial<5>(), shared(n) + other(n));
    return 0;
}
