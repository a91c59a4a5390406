/* What one rank does alone. Never starts MPI. */
#include "check.h"
#include "strip.h"

#include <math.h>

static void shares_are_contiguous_and_even(void)
{
    for (int size = 1; size <= 20; size++)
        for (int ranks = 1; ranks <= size; ranks++) {
            int expected = 0;

            for (int rank = 0; rank < ranks; rank++) {
                int first, rows;

                strip_share(size, ranks, rank, &first, &rows);
                CHECK(first == expected);
                CHECK(rows == size / ranks || rows == size / ranks + 1);
                expected += rows;
            }
            CHECK(expected == size);
        }
}

static void walls_mirror_the_cells_beside_them(void)
{
    strip s = strip_create(3, 0, 3);

    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            *strip_at(&s, i, j) = 1 + 3 * i + j;
    strip_insulate(&s);
    for (int k = 0; k < 3; k++) {
        CHECK(*strip_at(&s, k, -1) == *strip_at(&s, k, 0));
        CHECK(*strip_at(&s, k, 3) == *strip_at(&s, k, 2));
        CHECK(*strip_at(&s, -1, k) == *strip_at(&s, 0, k));
        CHECK(*strip_at(&s, 3, k) == *strip_at(&s, 2, k));
    }
    strip_destroy(&s);
}

static void inner_strips_have_no_walls_above_and_below(void)
{
    strip s = strip_create(4, 1, 2);

    strip_set_mode(&s, 1);
    strip_insulate(&s);
    for (int j = 0; j < 4; j++) {
        CHECK(*strip_at(&s, -1, j) == 0);
        CHECK(*strip_at(&s, 2, j) == 0);
    }
    strip_destroy(&s);
}

static strip stepped(int size, long steps)
{
    strip s = strip_create(size, 0, size);

    strip_set_mode(&s, 1);
    for (long k = 0; k < steps; k++) {
        strip_insulate(&s);
        strip_step(&s);
    }
    return s;
}

static void the_mode_decays_as_the_scheme_says(void)
{
    strip s = stepped(16, 300);

    CHECK(strip_distance(&s, mode_amplitude(16, 300)) < 1e-13);
    CHECK(strip_distance(&s, mode_amplitude(16, 301)) > 1e-4);
    strip_destroy(&s);
}

/* The largest error against the differential equation at t = 0.05. */
static double error_at(int size)
{
    long steps = lround(0.05 * size * size / STEP_RATIO);
    strip s = stepped(size, steps);
    double exact = exp(-2 * acos(-1.0) * acos(-1.0) * (double)steps * STEP_RATIO / ((double)size * size));
    double error = strip_distance(&s, exact);

    strip_destroy(&s);
    return error;
}

static void the_scheme_is_of_second_order(void)
{
    double order = log2(error_at(16) / error_at(32));

    CHECK(order > 1.9 && order < 2.1);
}

int main(void)
{
    shares_are_contiguous_and_even();
    walls_mirror_the_cells_beside_them();
    inner_strips_have_no_walls_above_and_below();
    the_mode_decays_as_the_scheme_says();
    the_scheme_is_of_second_order();
    if (failures == 0)
        puts("unit: ok");
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
