# Eigen (C++): `build` makes the program, `one NUMBER` runs it once. Both are called in a directory of its own.

build() {
    cat >main.cpp <<'EOF'
#include <Eigen/Dense>
#include <Eigen/Sparse>
#include <complex>
#include <cstdlib>
#include <iostream>
using namespace Eigen;
template <class S, int N> void solve(int n) {
    typedef Matrix<S, N, N> M;
    M a = M::Random() + M::Identity() * S(5), square = a.adjoint() * a;
    Matrix<S, N, 1> b = Matrix<S, N, 1>::Random();
    std::cout << a.partialPivLu().solve(b).norm() << a.householderQr().solve(b).norm() << square.ldlt().solve(b).norm();
    if (n % 2)
        std::cout << a.jacobiSvd(ComputeFullU | ComputeFullV).singularValues()(0);
    if (n % 3)
        std::cout << square.llt().solve(b).norm();
    SelfAdjointEigenSolver<M> values(square);
    std::cout << values.eigenvalues()(0) << a.inverse().norm() << a.determinant() << std::endl;
}
int main(int argc, char **argv) {
    int n = argc > 1 ? std::atoi(argv[1]) : 0;
    solve<double, 3>(n);
    if (n % 5)
        solve<std::complex<double>, 4>(n);
    MatrixXd x = MatrixXd::Random(20 + n % 9, 20 + n % 9);
    std::cout << (x * x.transpose()).trace() << x.eigenvalues()(0) << std::endl;
    SparseMatrix<double> sparse(50, 50);
    for (int i = 0; i < 50; i++)
        sparse.insert(i, i) = 4 + n;
    SimplicialLDLT<SparseMatrix<double>> solver(sparse);
    std::cout << solver.solve(VectorXd::Random(50)).norm() << std::endl;
}
EOF
    clang++-22 -std=c++17 -O0 -I/usr/include/eigen3 -fprofile-instr-generate -fcoverage-mapping main.cpp -o bin/eigen
}
one() { LLVM_PROFILE_FILE=real/$(printf %05d $1).profraw bin/eigen $1 >/dev/null; }
