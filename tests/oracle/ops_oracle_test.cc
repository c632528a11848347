// Forward and backward of the dense operators against ATen and autograd.
#include "tests/oracle/compare.h"

#include "kernels/ops.h"

using namespace zeroth::kernels;
using oracle::data;
using oracle::difference;
using oracle::randn;

TEST_CASE("linear and its gradients") {
  torch::manual_seed(1);
  for (auto [m, out, in] :
       {std::array<int64_t, 3>{1, 48, 64}, {17, 130, 96}, {200, 512, 192}, {65, 7, 33}}) {
    torch::Tensor x = randn({m, in}).requires_grad_(), w = randn({out, in}).requires_grad_();
    torch::Tensor b = randn({out}).requires_grad_(), dy = randn({m, out});
    torch::Tensor expected = torch::nn::functional::linear(x, w, b);
    expected.backward(dy);

    PackedMatrix packed;
    packed.pack(data(w), out, in, in);
    torch::Tensor y = torch::empty({m, out});
    linear(data(x), in, packed, data(b), data(y), out, m);
    CHECK(difference(y, expected) < 2e-6);

    torch::Tensor dx = torch::empty({m, in}), dw = torch::zeros({out, in}),
                  db = torch::zeros({out});
    linear_backward_input(data(dy), out, packed, data(dx), in, m, false);
    linear_backward_weight(data(dy), out, data(x), in, data(dw), in, data(db), m, out, in);
    CHECK(difference(dx, x.grad()) < 2e-6);
    CHECK(difference(dw, w.grad()) < 5e-6);
    CHECK(difference(db, b.grad()) < 5e-6);
    linear_backward_input(data(dy), out, packed, data(dx), in, m, true);
    CHECK(difference(dx, x.grad() * 2) < 2e-6);
  }
}

TEST_CASE("RMS norm and its gradients") {
  torch::manual_seed(2);
  for (auto [m, width] : {std::array<int64_t, 2>{3, 64}, {40, 192}, {9, 50}}) {
    torch::Tensor x = randn({m, width}).requires_grad_(), w = randn({width}).requires_grad_(),
                  dy = randn({m, width});
    torch::Tensor expected = x * torch::rsqrt(x.pow(2).mean(-1, true) + 1e-6) * w;
    expected.backward(dy);
    torch::Tensor y = torch::empty({m, width}), inv = torch::empty({m});
    rms_norm(data(x), width, data(w), 1e-6f, data(y), width, data(inv), m, width);
    CHECK(difference(y, expected) < 2e-6);
    torch::Tensor dx = torch::empty({m, width}), dw = torch::zeros({width});
    rms_norm_backward(data(dy), width, data(x), width, data(w), data(inv), data(dx), width,
                      data(dw), m, width, false);
    CHECK(difference(dx, x.grad()) < 5e-6);
    CHECK(difference(dw, w.grad()) < 5e-6);
  }
}

TEST_CASE("SwiGLU and its gradient") {
  torch::manual_seed(3);
  const int64_t m = 23, width = 100;
  torch::Tensor gu = (randn({m, 2 * width}) * 3).requires_grad_(), dy = randn({m, width});
  torch::Tensor expected = torch::silu(gu.narrow(1, 0, width)) * gu.narrow(1, width, width);
  expected.backward(dy);
  torch::Tensor y = torch::empty({m, width}), dgu = torch::empty({m, 2 * width});
  swiglu(data(gu), 2 * width, data(y), width, m, width);
  swiglu_backward(data(dy), width, data(gu), 2 * width, data(dgu), 2 * width, m, width);
  CHECK(difference(y, expected) < 2e-6);
  CHECK(difference(dgu, gu.grad()) < 2e-6);
}

TEST_CASE("rotary embedding, both pairings, and its inverse") {
  torch::manual_seed(4);
  const int64_t m = 11, heads = 3, dim = 16, half = dim / 2;
  torch::Tensor angle = randn({64, half});
  torch::Tensor cos = angle.cos().contiguous(), sin = angle.sin().contiguous();
  std::vector<int32_t> positions(m);
  for (int64_t i = 0; i < m; ++i) positions[i] = static_cast<int32_t>((i * 7) % 64);
  torch::Tensor index = torch::tensor(std::vector<int64_t>(positions.begin(), positions.end()));
  for (bool interleaved : {false, true}) {
    torch::Tensor x = randn({m, heads, dim});
    torch::Tensor c = cos.index_select(0, index).unsqueeze(1),
                  s = sin.index_select(0, index).unsqueeze(1);
    torch::Tensor a, b, expected;
    if (interleaved) {
      torch::Tensor pairs = x.view({m, heads, half, 2});
      a = pairs.select(3, 0), b = pairs.select(3, 1);
      expected = torch::stack({a * c - b * s, b * c + a * s}, 3).reshape({m, heads, dim});
    } else {
      a = x.narrow(2, 0, half), b = x.narrow(2, half, half);
      expected = torch::cat({a * c - b * s, b * c + a * s}, 2);
    }
    torch::Tensor y = x.clone();
    rope(data(y), heads * dim, dim, positions.data(), data(cos), data(sin), m, heads, dim,
         interleaved, false);
    CHECK(difference(y, expected) < 1e-6);
    rope(data(y), heads * dim, dim, positions.data(), data(cos), data(sin), m, heads, dim,
         interleaved, true);
    CHECK(difference(y, x) < 1e-6);
  }
}

TEST_CASE("embedding and its gradient with repeated ids") {
  torch::manual_seed(5);
  const int64_t vocab = 20, width = 24, m = 50;
  torch::Tensor table = randn({vocab, width}).requires_grad_(), dy = randn({m, width});
  torch::Tensor ids = torch::randint(0, 5, {m}, torch::kInt);
  torch::Tensor expected = table.index_select(0, ids);
  expected.backward(dy);
  torch::Tensor y = torch::empty({m, width}), dtable = torch::zeros({vocab, width});
  embedding({.floats = data(table)}, width, ids.data_ptr<int32_t>(), data(y), m);
  embedding_backward(data(dy), ids.data_ptr<int32_t>(), data(dtable), m, width, vocab);
  CHECK(torch::equal(y, expected.detach()));
  CHECK(difference(dtable, table.grad()) < 2e-6);
}

TEST_CASE(
    "causal attention over pages, grouped heads, distinct K and V widths, and its gradients") {
  torch::manual_seed(6);
  for (auto [length, heads, kv, kdim, vdim, window] : {std::array<int, 6>{37, 4, 2, 16, 16, 0},
                                                       {50, 6, 2, 32, 32, 0},
                                                       {20, 4, 4, 24, 16, 0},
                                                       {45, 4, 1, 16, 16, 8}}) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(kdim));
    torch::Tensor q = randn({length, heads, kdim}).requires_grad_(),
                  k = randn({length, kv, kdim}).requires_grad_();
    torch::Tensor v = randn({length, kv, vdim}).requires_grad_(),
                  dout = randn({length, heads, vdim});
    torch::Tensor kk = k.repeat_interleave(heads / kv, 1), vv = v.repeat_interleave(heads / kv, 1);
    torch::Tensor scores = torch::einsum("qhd,khd->hqk", {q, kk}) * scale;
    torch::Tensor mask = torch::ones({length, length}, torch::kBool).tril();
    if (window > 0) mask = mask & ~torch::ones({length, length}, torch::kBool).tril(-window);
    scores = scores.masked_fill(~mask, -INFINITY);
    torch::Tensor expected = torch::einsum("hqk,khd->qhd", {torch::softmax(scores, -1), vv});
    expected.backward(dout);

    const int pages = (length + kPageTokens - 1) / kPageTokens;
    std::vector<int32_t> table(pages), begin{0, pages}, sequence(length, 0), position(length);
    std::vector<KvWrite> writes(length);
    for (int p = 0; p < pages; ++p) table[p] = pages - 1 - p;  // out of order on purpose
    for (int i = 0; i < length; ++i) {
      position[i] = i;
      writes[i] = {i, int64_t{table[i / kPageTokens]} * kPageTokens + i % kPageTokens};
    }
    const auto make_pages = [&](torch::Tensor& kp, torch::Tensor& vp) {
      kp = torch::zeros({pages, kv, kdim, kPageTokens}),
      vp = torch::zeros({pages, kv, kPageTokens, vdim});
      return KvPages{data(kp), data(vp), kv, kdim, vdim};
    };
    torch::Tensor kp, vp, dkp, dvp;
    const KvPages cache = make_pages(kp, vp), dcache = make_pages(dkp, dvp);
    kv_write(cache, writes, data(k), kv * kdim, data(v), kv * vdim);
    const AttentionRows rows{sequence, position, table, begin, window};
    torch::Tensor out = torch::empty({length, heads, vdim}), lse = torch::empty({length, heads});
    attention(data(q), heads * kdim, cache, rows, scale, heads, data(out), heads * vdim, data(lse));
    CHECK(difference(out, expected) < 3e-6);
    CHECK(difference(lse, torch::logsumexp(scores, -1).transpose(0, 1)) < 2e-6);

    torch::Tensor dq = torch::empty({length, heads, kdim}), dk = torch::zeros({length, kv, kdim});
    torch::Tensor dv = torch::zeros({length, kv, vdim});
    attention_backward(data(q), heads * kdim, cache, rows, scale, heads, data(out), heads * vdim,
                       data(lse), data(dout), heads * vdim, data(dq), heads * kdim, dcache);
    kv_write_backward(dcache, writes, data(dk), kv * kdim, data(dv), kv * vdim);
    CHECK(difference(dq, q.grad()) < 1e-5);
    CHECK(difference(dk, k.grad()) < 1e-5);
    CHECK(difference(dv, v.grad()) < 1e-5);
  }
}
