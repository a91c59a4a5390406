#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "macros.h"

static int failures;

enum colour {
#define NAME(colour) colour,
    COLOURS(NAME)
#undef NAME
    colours
};

static int paint(enum colour colour) {
    switch (colour) {
#define CASE(colour) case colour: return colour * 2;
        COLOURS(CASE)
#undef CASE
    default:
        return -1;
    }
}

static int loops(int n) {
    int sum = 0;
    for (int i = 0; i < n; i++) {
        if (i % 3 == 0)
            continue;
        if (i > 40) break;
        sum += i;
    }
    while (n-- > 5) sum--;
    do {
        sum += 2;
    } while (sum < 0 || sum % 7 == 3);
    return sum;
}

#if 0
static int never_compiled(void) {
    return 1;
}
#endif

int conditions(int a, int b) {
    int result = 0;
    if (a > 1 && (b > 2 || a == b)) result |= 1;
    if (a < 0) { result |= 2; } else if (b < 0) { result |= 4; } else { result |= 8; }
    result |= a ? (b ? 16 : 32) : 64;
#ifdef VARIANT
    if (a == b && b == 3)
        result |= 128;
#else
    result |= 256;
#endif
    if (sizeof(int) == 8) result = 0;
    return result;
}

int jumps(int n) {
    if (n == 4)
        goto out;
    n *= 2;
out:
    return n;
}

int never_called(int n) {
    for (;;)
        if (n++ > 3)
            return n;
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 0;
    CHECK(n < 3);
    CHECK(CLAMP(n, 1, 5) == n);
    int larger = JUST_LARGER(n, JUST_LARGER(1, 2)), clamped = CLAMP(n, 2, CLAMP(n, 3, 4));
    printf("%d %d %d %d %d\n", loops(n), conditions(n, 3), jumps(n), larger, clamped);
    printf("%d %d %d\n", paint((enum colour)(n % 4)), half(n), failures);
    if (n == 9)
        exit(3);
    return failures > 1;
}
