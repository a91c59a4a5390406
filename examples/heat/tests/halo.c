/* After an exchange the ghost rows hold what the neighbours have, and those beyond the walls what they had. */
#include "halo.h"
#include "mpi_test.h"

enum { SIZE = 13 };  /* no multiple of the rank counts, so that strips differ in height */

static double value_of(int row, int column, int round)
{
    return round * 1e6 + row * 1e3 + column + 1;
}

static void test(int rank, int ranks)
{
    int first, rows;
    strip s;
    halo *h;

    strip_share(SIZE, ranks, rank, &first, &rows);
    s = strip_create(SIZE, first, rows);
    h = halo_create(&s, MPI_COMM_WORLD);
    for (int round = 0; round < 4; round++) {
        s.plane = round % 2;
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < SIZE; j++)
                *strip_at(&s, i, j) = value_of(first + i, j, round);
        halo_exchange(h);
        for (int j = 0; j < SIZE; j++) {
            CHECK(*strip_at(&s, -1, j) == (first == 0 ? 0 : value_of(first - 1, j, round)));
            CHECK(*strip_at(&s, rows, j) == (first + rows == SIZE ? 0 : value_of(first + rows, j, round)));
        }
    }
    halo_destroy(h);
    strip_destroy(&s);
}

int main(int argc, char **argv)
{
    return mpi_test("halo", argc, argv, test);
}
