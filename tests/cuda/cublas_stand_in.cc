// The functions of cuBLAS that zeroth bench calls, for its test: they note their calls and touch no
// memory. `zeroth_fail` is the status that products give.
extern "C" {
int zeroth_open = 0, zeroth_products = 0, zeroth_side = 0, zeroth_fail = 0;

int cublasCreate_v2(void** handle) {
  *handle = &zeroth_open;
  ++zeroth_open;
  return 0;
}
int cublasDestroy_v2(void*) {
  --zeroth_open;
  return 0;
}
int cublasSetStream_v2(void*, void* stream) { return stream == nullptr ? 7 : 0; }
int cublasSgemm_v2(void*, int, int, int m, int n, int k, const float*, const float* a, int,
                   const float* b, int, const float*, float* c, int) {
  if (!a || !b || !c || m != n || n != k) return 7;
  ++zeroth_products;
  zeroth_side = n;
  return zeroth_fail;
}
}
