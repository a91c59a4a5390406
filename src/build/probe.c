/* Smooths a row as numeric programs do, says how long that took, and dies if it is asked to. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}
enum { CELLS = 1024 };
static double a[CELLS], b[CELLS];
static double smooth(int i) { return i == 0 || i == CELLS - 1 ? a[i] : 0.25 * (a[i - 1] + a[i + 1]) + 0.5 * a[i]; }
static void step(void) {
    int i;
    for (i = 0; i < CELLS; i++) b[i] = smooth(i);
    for (i = 0; i < CELLS; i++) a[i] = b[i];
}
int main(int count, char **words) {
    long i, n = atol(words[1]);
    double start = now();
    a[0] = count;
    for (i = 0; i < n; i++) step();
    printf("%.0f\n", now() - start + (a[1] < 0));
    fflush(stdout);
    if (count > 2) raise(SIGKILL);
    return 0;
}
