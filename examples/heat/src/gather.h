/* The whole square in one place. */
#ifndef GATHER_H
#define GATHER_H

#include "strip.h"

#include <mpi.h>

/* Collective. Returns size x size cells on rank 0, which frees them, and NULL on the others. */
double *gather_square(const strip *s, MPI_Comm comm);

#endif
