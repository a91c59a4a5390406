#include <stdio.h>
#include <stdlib.h>

int library_call(int n);
int library_idle(int n);

static int helper(int n) { return n > 2 ? n : 2; }

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 0;
    printf("%d\n", library_call(helper(n)));
    return 0;
}
