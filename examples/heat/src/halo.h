/* Brings the neighbours' border rows into a strip's ghost rows. Two ways to do it, one of which is linked:
 * halo_messages.c, and with FEATURES=rma halo_rma.c. */
#ifndef HALO_H
#define HALO_H

#include "strip.h"

#include <mpi.h>

typedef struct halo halo;

/* Collective. `s` is this rank's share of the rows, as strip_share deals them, and must outlive the halo. */
halo *halo_create(strip *s, MPI_Comm comm);
void halo_destroy(halo *h);

/* Collective. Ghost rows beyond a wall are left alone. */
void halo_exchange(halo *h);

/* The name of the way that was linked. */
extern const char halo_kind[];

#endif
