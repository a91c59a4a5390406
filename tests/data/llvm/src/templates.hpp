#pragma once
#include <utility>

template <typename T, int N> struct Ring {
    T items[N] = {};
    int used = 0;

    bool push(T item) {
        if (used == N)
            return false;
        items[used++] = std::move(item);
        return true;
    }

    template <typename F> int each(F f) const {
        int count = 0;
        for (int i = 0; i < used; i++)
            if (f(items[i]))
                count++;
        return count;
    }

    T unused() const { return items[0]; }
};

#define EITHER(a, b) ((a) || (b))

inline int shared(int n) { return EITHER(n > 2, n < -2) ? n : 0; }

template <int N> constexpr int factorial() {
    if constexpr (N <= 1)
        return 1;
    else
        return N * factorial<N - 1>();
}
