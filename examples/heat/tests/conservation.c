/* However many ranks share the square: no heat is lost, and every cell is what one rank alone computes, to the bit. */
#include "gather.h"
#include "mpi_test.h"
#include "solver.h"

#include <math.h>

enum { SIZE = 30, STEPS = 400 };

static strip solved(MPI_Comm comm)
{
    int rank, ranks, first, rows;
    outcome o;
    strip s;
    halo *h;

    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &ranks);
    strip_share(SIZE, ranks, rank, &first, &rows);
    s = strip_create(SIZE, first, rows);
    h = halo_create(&s, comm);
    o = solve(&s, h, comm, STEPS, 1e-12);
    CHECK(o.steps == STEPS && !o.converged);
    CHECK(o.error < 1e-13);
    halo_destroy(h);
    return s;
}

static void test(int rank, int ranks)
{
    strip mine = solved(MPI_COMM_WORLD), whole = solved(MPI_COMM_SELF);
    double heat = strip_heat(&mine), total, *square = gather_square(&mine, MPI_COMM_WORLD);

    (void)ranks;
    MPI_Allreduce(&heat, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    CHECK(fabs(total / (SIZE * SIZE) - 1) < 1e-13);
    CHECK((square != NULL) == (rank == 0));
    for (int i = 0; square && i < SIZE; i++)
        for (int j = 0; j < SIZE; j++)
            CHECK(square[i * SIZE + j] == *strip_at(&whole, i, j));
    free(square);
    strip_destroy(&mine);
    strip_destroy(&whole);
}

int main(int argc, char **argv)
{
    return mpi_test("conservation", argc, argv, test);
}
