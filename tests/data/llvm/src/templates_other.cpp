#include "templates.hpp"

int other(int n) {
    Ring<int, 4> ints;
    while (ints.push(n))
        n--;
    return shared(n) + ints.each([](int i) { return EITHER(i == 0, i > 5); });
}
