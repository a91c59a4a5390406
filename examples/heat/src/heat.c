/* heat: how an insulated square comes to equilibrium. README.md has the equations. */
#include "gather.h"
#include "solver.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] = "usage: heat [--size CELLS] [--steps LIMIT] [--tolerance T] [--output FILE.pgm]\n";

typedef struct {
    long size, steps;
    double tolerance;
    const char *output;
} settings;

/* Returns whether the whole of `text` is a number from 1 to `most`. */
static int read_number(const char *text, long most, long *number)
{
    char *end;

    errno = 0;
    *number = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *number >= 1 && *number <= most;
}

static int read_settings(int argc, char **argv, settings *set)
{
    static const struct option options[] = {
        {"size", required_argument, NULL, 's'},
        {"steps", required_argument, NULL, 'n'},
        {"tolerance", required_argument, NULL, 't'},
        {"output", required_argument, NULL, 'o'},
        {0},
    };
    int option, ok = 1;

    opterr = 0;
    while (ok && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's': ok = read_number(optarg, 30000, &set->size); break;
        case 'n': ok = read_number(optarg, 1000000000, &set->steps); break;
        case 't': ok = (set->tolerance = atof(optarg)) > 0; break;
        case 'o': set->output = optarg; break;
        default: ok = 0;
        }
    }
    return ok && optind == argc;
}

/* A grey picture, black where u = 0 and white where u = 2. */
static int write_picture(const char *path, const double *square, int size)
{
    FILE *file = fopen(path, "w");
    int ok = file != NULL;

    if (ok) {
        fprintf(file, "P2\n%d %d\n255\n", size, size);
        for (long k = 0; k < (long)size * size; k++)
            fprintf(file, "%d\n", (int)(square[k] * 127.5 + 0.5));
        ok = fclose(file) == 0;
    }
    if (!ok)
        perror(path);
    return ok;
}

static int run(const settings *set, int rank, int ranks)
{
    int first, rows, ok = 1;
    double seconds;
    strip s;
    halo *h;
    outcome o;

    strip_share((int)set->size, ranks, rank, &first, &rows);
    s = strip_create((int)set->size, first, rows);
    if (!s.cells)
        MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    h = halo_create(&s, MPI_COMM_WORLD);

    MPI_Barrier(MPI_COMM_WORLD);
    seconds = MPI_Wtime();
    o = solve(&s, h, MPI_COMM_WORLD, set->steps, set->tolerance);
    seconds = MPI_Wtime() - seconds;

    if (rank == 0) {
        printf("heat: %d x %d cells on %d ranks, halo by %s\n", s.size, s.size, ranks, halo_kind);
        printf(o.converged ? "converged after %ld steps\n" : "no equilibrium after %ld steps\n", o.steps);
        printf("residual: %.3e\nerror: %.3e\ntime: %.3f ms\n", o.residual, o.error, seconds * 1e3);
    }
    if (set->output) {
        double *square = gather_square(&s, MPI_COMM_WORLD);

        if (rank == 0)
            ok = write_picture(set->output, square, s.size);
        free(square);
    }
    halo_destroy(h);
    strip_destroy(&s);
    return ok && o.converged ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    settings set = {.size = 64, .steps = 1000000, .tolerance = 1e-6};
    int rank, ranks, status = 2;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (!read_settings(argc, argv, &set)) {
        if (rank == 0)
            fputs(usage, stderr);
    } else if (set.size < ranks) {
        if (rank == 0)
            fprintf(stderr, "heat: %ld rows are too few for %d ranks\n", set.size, ranks);
    } else {
        status = run(&set, rank, ranks);
    }
    MPI_Finalize();
    return status;
}
