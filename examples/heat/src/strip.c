#include "strip.h"

#include <math.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;

void strip_share(int size, int ranks, int rank, int *first, int *rows)
{
    int least = size / ranks, left = size % ranks;

    *rows = least + (rank < left);
    *first = rank * least + (rank < left ? rank : left);
}

strip strip_create(int size, int first, int rows)
{
    strip s = {.size = size, .first = first, .rows = rows};

    s.cells = calloc(2 * ((size_t)rows + 2) * ((size_t)size + 2), sizeof *s.cells);
    return s;
}

void strip_destroy(strip *s)
{
    free(s->cells);
    s->cells = NULL;
}

static double mode(const strip *s, int i, int j, double amplitude)
{
    double h = 1.0 / s->size;

    return 1 + amplitude * cos(pi * (s->first + i + 0.5) * h) * cos(pi * (j + 0.5) * h);
}

void strip_set_mode(strip *s, double amplitude)
{
    for (int i = 0; i < s->rows; i++)
        for (int j = 0; j < s->size; j++)
            *strip_at(s, i, j) = mode(s, i, j, amplitude);
}

double mode_amplitude(int size, long steps)
{
    double wave = sin(pi / (2.0 * size));

    return pow(1 - 8 * STEP_RATIO * wave * wave, (double)steps);
}

void strip_insulate(strip *s)
{
    for (int i = 0; i < s->rows; i++) {
        *strip_at(s, i, -1) = *strip_at(s, i, 0);
        *strip_at(s, i, s->size) = *strip_at(s, i, s->size - 1);
    }
    if (s->first == 0)
        for (int j = 0; j < s->size; j++)
            *strip_at(s, -1, j) = *strip_at(s, 0, j);
    if (s->first + s->rows == s->size)
        for (int j = 0; j < s->size; j++)
            *strip_at(s, s->rows, j) = *strip_at(s, s->rows - 1, j);
}

void strip_step(strip *s)
{
    strip next = *s;

    next.plane = 1 - s->plane;
    for (int i = 0; i < s->rows; i++) {
        const double *above = strip_at(s, i - 1, 0), *here = strip_at(s, i, 0), *below = strip_at(s, i + 1, 0);
        double *then = strip_at(&next, i, 0);

        for (int j = 0; j < s->size; j++)
            then[j] = here[j] + STEP_RATIO * (above[j] + below[j] + here[j - 1] + here[j + 1] - 4 * here[j]);
    }
    s->plane = next.plane;
}

double strip_heat(const strip *s)
{
    double sum = 0;

    for (int i = 0; i < s->rows; i++)
        for (int j = 0; j < s->size; j++)
            sum += *strip_at(s, i, j);
    return sum;
}

double strip_distance(const strip *s, double amplitude)
{
    double largest = 0;

    for (int i = 0; i < s->rows; i++)
        for (int j = 0; j < s->size; j++)
            largest = fmax(largest, fabs(*strip_at(s, i, j) - mode(s, i, j, amplitude)));
    return largest;
}
