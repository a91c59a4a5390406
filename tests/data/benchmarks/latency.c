/* Like osu_latency: a ping-pong between two ranks, a line for each size. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#define ROUNDS 100
static char buffer[1 << 16];
int main(int argc, char **argv) {
  int rank;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) printf("# OSU MPI Latency Test v7.4\n# Size          Latency (us)\n");
  for (int size = 1; size <= 65536; size *= 256) {
    double start = MPI_Wtime();
    for (int i = 0; i < ROUNDS; i++) {
      if (rank == 0) {
        MPI_Send(buffer, size, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
        MPI_Recv(buffer, size, MPI_CHAR, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      } else if (rank == 1) {
        MPI_Recv(buffer, size, MPI_CHAR, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(buffer, size, MPI_CHAR, 0, 0, MPI_COMM_WORLD);
      }
    }
    double latency = (MPI_Wtime() - start) * 1e6 / (2.0 * ROUNDS);
    if (getenv("NOT_A_NUMBER")) latency = 0.0 / 0.0;
    if (rank == 0) printf("%-10d %18.2f\n", size, latency);
  }
  MPI_Finalize();
  return 0;
}
