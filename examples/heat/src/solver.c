#include "solver.h"

/* The residual costs a reduction over all ranks, a step only a message to the neighbours. */
enum { STEPS_BETWEEN_CHECKS = 50 };

static double largest_of_all(double mine, MPI_Comm comm)
{
    double largest;

    MPI_Allreduce(&mine, &largest, 1, MPI_DOUBLE, MPI_MAX, comm);
    return largest;
}

outcome solve(strip *s, halo *h, MPI_Comm comm, long limit, double tolerance)
{
    outcome o = {0};

    strip_set_mode(s, 1);
    for (;;) {
        o.residual = largest_of_all(strip_distance(s, 0), comm);
        o.converged = o.residual < tolerance;
        if (o.converged || o.steps >= limit)
            break;
        for (int k = 0; k < STEPS_BETWEEN_CHECKS && o.steps < limit; k++, o.steps++) {
            strip_insulate(s);
            halo_exchange(h);
            strip_step(s);
        }
    }
    o.error = largest_of_all(strip_distance(s, mode_amplitude(s->size, o.steps)), comm);
    return o;
}
