/* The frame of a test that runs on any number of ranks. */
#ifndef MPI_TEST_H
#define MPI_TEST_H

#include "check.h"

#include <mpi.h>

/* Runs `test` between MPI_Init and MPI_Finalize. All ranks return a failure if one had one. */
static int mpi_test(const char *name, int argc, char **argv, void (*test)(int rank, int ranks))
{
    int rank, ranks, all;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    test(rank, ranks);
    MPI_Allreduce(&failures, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0 && all == 0)
        printf("%s: ok on %d ranks\n", name, ranks);
    MPI_Finalize();
    return all ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
