#include "halo.h"

#include <stdlib.h>

const char halo_kind[] = "messages";

struct halo {
    strip *s;
    MPI_Comm comm;
    int above, below;  /* MPI_PROC_NULL beyond the walls, where messages go nowhere */
};

halo *halo_create(strip *s, MPI_Comm comm)
{
    int rank, ranks;
    halo *h = malloc(sizeof *h);

    if (!h)
        MPI_Abort(comm, EXIT_FAILURE);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &ranks);
    *h = (halo){
        .s = s,
        .comm = comm,
        .above = rank > 0 ? rank - 1 : MPI_PROC_NULL,
        .below = rank + 1 < ranks ? rank + 1 : MPI_PROC_NULL,
    };
    return h;
}

void halo_destroy(halo *h)
{
    free(h);
}

void halo_exchange(halo *h)
{
    strip *s = h->s;

    MPI_Sendrecv(strip_at(s, 0, 0), s->size, MPI_DOUBLE, h->above, 0,
                 strip_at(s, s->rows, 0), s->size, MPI_DOUBLE, h->below, 0, h->comm, MPI_STATUS_IGNORE);
    MPI_Sendrecv(strip_at(s, s->rows - 1, 0), s->size, MPI_DOUBLE, h->below, 1,
                 strip_at(s, -1, 0), s->size, MPI_DOUBLE, h->above, 1, h->comm, MPI_STATUS_IGNORE);
}
