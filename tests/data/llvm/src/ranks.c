#include <stdio.h>
#include <stdlib.h>

static int work(int rank, int size) {
    int left = rank > 0;
    int right = rank + 1 < size;
    if (rank != 1)
        left += 2;
    else
        left += 4;
    return left + right;
}

static void report(int total) {
    printf("%d\n", total);
}

int main(int argc, char **argv) {
    int rank = argc > 1 ? atoi(argv[1]) : 0, size = argc > 2 ? atoi(argv[2]) : 1;
    int total = work(rank, size);
    if (rank == 0)
        report(total);
    if (rank > 0) {
        total++;
    }
    if (size < 8)
        return 0;
    return total < 0;
}
