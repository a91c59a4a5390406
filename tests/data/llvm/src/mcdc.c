#include <stdio.h>
#include <stdlib.h>

#define BOTH(a, b) ((a) && (b))

static int decide(int a, int b, int c) {
    int result = 0;
    if ((a > 0 && b > 0) || c > 0)
        result++;
    if (BOTH(a > 1, b > 1) && !(c > 1 || a == b))
        result += 2;
    return a && (b || (c && result));
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 0;
    printf("%d\n", decide(n & 1, n & 2, n & 4) + decide(n & 8, n & 16, n & 32));
    return 0;
}
