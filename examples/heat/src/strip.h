/* A strip of the unit square: whole rows of its cells, and the heat in them. Knows nothing of other ranks. */
#ifndef STRIP_H
#define STRIP_H

#include <stddef.h>

typedef struct {
    int size;         /* cells along a side of the whole square */
    int first, rows;  /* rows first .. first + rows - 1 of the square are here */
    int plane;        /* which of the two planes of `cells` holds the present time */
    double *cells;    /* two planes of (rows + 2) x (size + 2) cells, a ghost on each side */
} strip;

/* The explicit scheme is stable up to dt / h^2 = 1/4. */
#define STEP_RATIO 0.2

/* Rows of `rank` when `size` rows are dealt to `ranks`: contiguous, and none has two more than another. */
void strip_share(int size, int ranks, int rank, int *first, int *rows);

/* All cells are 0 at first. Cells are NULL if there was no memory. */
strip strip_create(int size, int first, int rows);
void strip_destroy(strip *s);

/* Offset in `cells` of row i, column j of the strip at the present time; -1 and `rows` or `size` are ghosts. */
static inline size_t strip_offset(const strip *s, int i, int j)
{
    size_t width = (size_t)s->size + 2;
    return ((size_t)s->plane * ((size_t)s->rows + 2) + (size_t)(i + 1)) * width + (size_t)(j + 1);
}

static inline double *strip_at(const strip *s, int i, int j)
{
    return s->cells + strip_offset(s, i, j);
}

/* u = 1 + amplitude cos(pi x) cos(pi y), the slowest way in which an insulated square can be out of equilibrium. */
void strip_set_mode(strip *s, double amplitude);

/* What becomes of the amplitude 1 in `steps` steps: of the scheme itself, without rounding. */
double mode_amplitude(int size, long steps);

/* Insulated walls: the ghosts beyond them mirror the cells inside, so that nothing flows. */
void strip_insulate(strip *s);

/* One step in time; the ghosts must be up to date. */
void strip_step(strip *s);

double strip_heat(const strip *s);                            /* the sum of all cells */
double strip_distance(const strip *s, double amplitude);      /* the largest difference to that mode */

#endif
