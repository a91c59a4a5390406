#include <benchmark/benchmark.h>
#include <numeric>
#include <vector>
static void BM_sum(benchmark::State& state) {
  std::vector<double> v(state.range(0), 1.0);
  for (auto _ : state) benchmark::DoNotOptimize(std::accumulate(v.begin(), v.end(), 0.0));
  state.SetBytesProcessed(state.iterations() * state.range(0) * sizeof(double));
}
BENCHMARK(BM_sum)->Arg(8)->Arg(1024)->Repetitions(3);
static void BM_broken(benchmark::State& state) { state.SkipWithError("no device"); for (auto _ : state) {} }
BENCHMARK(BM_broken);
BENCHMARK_MAIN();
