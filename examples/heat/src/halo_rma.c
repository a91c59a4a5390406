#include "halo.h"

#include <stdlib.h>

const char halo_kind[] = "one-sided communication";

/* A neighbour, and its strip as far as is needed to find the ghost row there. */
typedef struct {
    int rank;
    strip layout;
} neighbour;

struct halo {
    strip *s;
    MPI_Win window;  /* over both planes, so that one serves all steps */
    neighbour above, below;
};

static neighbour neighbour_at(int rank, int ranks, int size)
{
    neighbour n = {.rank = MPI_PROC_NULL, .layout = {.size = size}};

    if (rank >= 0 && rank < ranks) {
        n.rank = rank;
        strip_share(size, ranks, rank, &n.layout.first, &n.layout.rows);
    }
    return n;
}

halo *halo_create(strip *s, MPI_Comm comm)
{
    int rank, ranks;
    MPI_Aint bytes = (MPI_Aint)(2 * ((size_t)s->rows + 2) * ((size_t)s->size + 2) * sizeof(double));
    halo *h = malloc(sizeof *h);

    if (!h)
        MPI_Abort(comm, EXIT_FAILURE);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &ranks);
    h->s = s;
    h->above = neighbour_at(rank - 1, ranks, s->size);
    h->below = neighbour_at(rank + 1, ranks, s->size);
    MPI_Win_create(s->cells, bytes, sizeof(double), MPI_INFO_NULL, comm, &h->window);
    return h;
}

void halo_destroy(halo *h)
{
    MPI_Win_free(&h->window);
    free(h);
}

static void put_row(halo *h, int from, neighbour *to, int ghost)
{
    strip *s = h->s;

    to->layout.plane = s->plane;
    MPI_Put(strip_at(s, from, 0), s->size, MPI_DOUBLE, to->rank,
            (MPI_Aint)strip_offset(&to->layout, ghost, 0), s->size, MPI_DOUBLE, h->window);
}

void halo_exchange(halo *h)
{
    MPI_Win_fence(MPI_MODE_NOPRECEDE, h->window);
    put_row(h, 0, &h->above, h->above.layout.rows);
    put_row(h, h->s->rows - 1, &h->below, -1);
    MPI_Win_fence(MPI_MODE_NOSUCCEED, h->window);
}
