// Body of factor/blas.h on OpenBLAS. LAPACK is column-major: a lower triangle of ours is an upper one of its.
#include "engine/quant/factor/blas.h"

#include <cblas.h>

#include "engine/quant/solver.h"

extern "C" {
void spotrf_(const char* uplo, const int* n, float* a, const int* lda, int* info);
}

namespace gridquant::quant {

std::string blas_core_name() {
  return openblas_get_corename();
}

namespace blas {
namespace {

int narrow(int64_t x) {
  return static_cast<int>(x);
}

}  // namespace

void use_one_thread() {
  if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
}

void subtract_at_b(Dims d, ConstBlock a, ConstBlock b, Block c) {
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, narrow(d.m), narrow(d.n), narrow(d.k), -1.0f, a.data,
              narrow(a.ld), b.data, narrow(b.ld), 1.0f, c.data, narrow(c.ld));
}

void subtract_a_bt(Dims d, ConstBlock a, ConstBlock b, Block c) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, narrow(d.m), narrow(d.n), narrow(d.k), -1.0f, a.data,
              narrow(a.ld), b.data, narrow(b.ld), 1.0f, c.data, narrow(c.ld));
}

void subtract_a_at(int64_t n, int64_t k, ConstBlock a, Block c) {
  cblas_ssyrk(CblasRowMajor, CblasLower, CblasNoTrans, narrow(n), narrow(k), -1.0f, a.data, narrow(a.ld), 1.0f, c.data,
              narrow(c.ld));
}

void solve_right_lower_t(int64_t m, int64_t n, ConstBlock l, Block b) {
  cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, narrow(m), narrow(n), 1.0f, l.data,
              narrow(l.ld), b.data, narrow(b.ld));
}

bool cholesky_lower(int64_t n, Block a) {
  const int size = narrow(n);
  const int ld = narrow(a.ld);
  int info = 0;
  spotrf_("U", &size, a.data, &ld, &info);
  return info == 0;
}

}  // namespace blas
}  // namespace gridquant::quant
