#ifndef MACROS_H
#define MACROS_H

#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(x, low, high) (LARGER(low, x) > (high) ? (high) : LARGER(low, x))
#define JUST_LARGER(a, b) LARGER(a, b)
#define CHECK(condition) \
    do { \
        if (!(condition)) \
            failures++; \
    } while (0)
#define COLOURS(X) X(red) X(green) X(blue)

static inline int half(int n) {
    return n % 2 == 0 && n > 0 ? n / 2 : -1;
}

static inline int unused_here(int n) { return n; }

#endif
