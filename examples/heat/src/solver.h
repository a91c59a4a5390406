/* Steps in time until the square is in equilibrium. */
#ifndef SOLVER_H
#define SOLVER_H

#include "halo.h"

typedef struct {
    long steps;
    int converged;    /* the residual fell below the tolerance */
    double residual;  /* the largest distance to equilibrium, of all ranks */
    double error;     /* the largest distance to the scheme's exact solution, hence rounding alone */
} outcome;

/* Collective. Starts from amplitude 1; takes `limit` steps at most. */
outcome solve(strip *s, halo *h, MPI_Comm comm, long limit, double tolerance);

#endif
