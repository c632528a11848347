// Router, head and optimizer against ATen, autograd and torch::optim.
#include "tests/oracle/compare.h"

#include "kernels/head.h"
#include "kernels/ops.h"

using namespace zeroth::kernels;
using oracle::data;
using oracle::difference;
using oracle::randn;

TEST_CASE("softmax and sigmoid routing with renormalised weights, and the gradient to the logits") {
  torch::manual_seed(1);
  const int64_t m = 40, experts = 12, k = 3;
  for (bool sigmoid : {false, true}) {
    for (bool normalize : {false, true}) {
      torch::Tensor logits = randn({m, experts}).requires_grad_(), dweights = randn({m, k});
      torch::Tensor scores = sigmoid ? torch::sigmoid(logits) : torch::softmax(logits, -1);
      torch::Tensor index =
          std::get<0>(torch::sort(std::get<1>(scores.topk(k, -1)), -1));  // ascending expert ids
      torch::Tensor chosen = scores.gather(1, index);
      if (normalize) chosen = chosen / chosen.sum(-1, true);
      torch::Tensor expected = chosen * 2.5;
      expected.backward(dweights);

      RouterConfig config;
      config.experts = experts, config.top_k = k, config.sigmoid = sigmoid,
      config.normalize = normalize, config.scale = 2.5f;
      torch::Tensor ids = torch::empty({m, k}, torch::kInt), weights = torch::empty({m, k});
      torch::Tensor saved = torch::empty({m, experts}), dlogits = torch::empty({m, experts});
      route(data(logits), nullptr, config, ids.data_ptr<int32_t>(), data(weights), data(saved), m);
      CHECK(torch::equal(ids.to(torch::kLong), index));
      CHECK(difference(weights, expected) < 2e-6);
      route_backward(data(dweights), ids.data_ptr<int32_t>(), data(weights), data(saved), config,
                     data(dlogits), m);
      CHECK(difference(dlogits, logits.grad()) < 1e-5);
    }
  }
}

TEST_CASE("dispatch, experts and combine equal a dense mixture") {
  torch::manual_seed(2);
  const int64_t m = 30, width = 32, experts = 5, k = 2;
  torch::Tensor x = randn({m, width}).requires_grad_(),
                w = randn({experts, width, width}).requires_grad_();
  torch::Tensor weights = torch::rand({m, k}).requires_grad_(), dout = randn({m, width});
  torch::Tensor ids =
      std::get<0>(torch::sort(std::get<1>(torch::rand({m, experts}).topk(k, -1)), -1))
          .to(torch::kInt);
  torch::Tensor all = torch::einsum("mi,eoi->meo", {x, w});
  torch::Tensor expected =
      (all.gather(1, ids.to(torch::kLong).unsqueeze(-1).expand({m, k, width})) *
       weights.unsqueeze(-1))
          .sum(1);
  expected.backward(dout);

  std::vector<int64_t> offsets(experts + 1);
  std::vector<int32_t> order(m * k);
  expert_sort(ids.data_ptr<int32_t>(), m, k, experts, offsets.data(), order.data());
  std::vector<PackedMatrix> packed(experts);
  std::vector<const PackedMatrix*> matrices;
  std::vector<float*> grads;
  torch::Tensor dw = torch::zeros({experts, width, width});
  for (int64_t e = 0; e < experts; ++e) {
    packed[e].pack(data(w) + e * width * width, width, width, width);
    matrices.push_back(&packed[e]);
    grads.push_back(data(dw) + e * width * width);
  }
  torch::Tensor sorted = torch::empty({m * k, width}), y = torch::empty({m * k, width}),
                out = torch::empty({m, width});
  gather_rows(data(x), width, order, k, data(sorted), width);
  grouped_linear(data(sorted), width, offsets, matrices, data(y), width);
  combine(data(y), order, data(weights), k, data(out), width, m, width);
  CHECK(difference(out, expected) < 2e-6);

  const torch::Tensor choice = torch::tensor(std::vector<int64_t>(order.begin(), order.end()));
  const torch::Tensor dy = (dout.index_select(0, choice.floor_divide(k)) *
                            weights.detach().reshape({-1, 1}).index_select(0, choice))
                               .contiguous();
  torch::Tensor dsorted = torch::empty({m * k, width}), dx = torch::empty({m, width});
  grouped_backward_input(data(dy), width, offsets, matrices, data(dsorted), width);
  grouped_backward_weight(data(dy), width, data(sorted), width, offsets, grads, width, width);
  gather_rows_backward(data(dsorted), order, k, data(dx), width, m, width, false);
  CHECK(difference(dw, w.grad()) < 5e-6);
  CHECK(difference(dx, x.grad()) < 5e-6);
}

TEST_CASE("head: log-probs, entropies and gradients with temperature") {
  torch::manual_seed(3);
  for (auto [m, vocab, width] : {std::array<int64_t, 3>{5, 7, 16}, {33, 300, 64}, {4, 5000, 32}}) {
    torch::Tensor h = randn({m, width}).requires_grad_(),
                  w = (randn({vocab, width}) * 0.3).requires_grad_();
    torch::Tensor target = torch::randint(0, vocab, {m}, torch::kInt),
                  temperature = torch::rand({m}) + 0.5;
    torch::Tensor dlogprob = randn({m}), dentropy = randn({m});
    torch::Tensor logp = torch::log_softmax(torch::mm(h, w.t()) / temperature.unsqueeze(1), -1);
    torch::Tensor chosen = logp.gather(1, target.to(torch::kLong).unsqueeze(1)).squeeze(1);
    torch::Tensor entropy = -(logp.exp() * logp).sum(-1);
    ((chosen * dlogprob).sum() + (entropy * dentropy).sum()).backward();

    PackedMatrix packed;
    packed.pack(data(w), vocab, width, width);
    torch::Tensor got = torch::empty({m}), got_entropy = torch::empty({m}), lse = torch::empty({m});
    head_logprobs(data(h), width, packed, target.data_ptr<int32_t>(), data(temperature), {},
                  data(got), data(got_entropy), data(lse), m);
    CHECK(difference(got, chosen) < 2e-6);
    CHECK(difference(got_entropy, entropy) < 5e-6);
    torch::Tensor dh = torch::empty({m, width}), dw = torch::zeros({vocab, width});
    head_backward(data(h), width, packed, target.data_ptr<int32_t>(), data(temperature), {},
                  data(dlogprob), data(dentropy), data(dh), width, data(dw), m);
    CHECK(difference(dh, h.grad()) < 1e-5);
    CHECK(difference(dw, w.grad()) < 1e-5);
  }
}

TEST_CASE("AdamW follows torch::optim over ten steps") {
  torch::manual_seed(4);
  const int64_t n = 1000;
  torch::Tensor w = randn({n}), expected = w.clone().requires_grad_();
  torch::optim::AdamW optimizer(
      {expected}, torch::optim::AdamWOptions(1e-2).betas({0.9, 0.95}).eps(1e-8).weight_decay(0.1));
  torch::Tensor m = torch::zeros({n}), v = torch::zeros({n});
  for (int step = 1; step <= 10; ++step) {
    torch::Tensor grad = randn({n});
    expected.mutable_grad() = grad.clone() * 0.5;
    optimizer.step();
    AdamWStep config;
    config.lr = 1e-2f, config.beta1 = 0.9f, config.beta2 = 0.95f, config.eps = 1e-8f,
    config.weight_decay = 0.1f;
    config.step = step, config.grad_scale = 0.5f;
    adamw(data(w), data(grad), data(m), data(v), n, config);
  }
  CHECK(difference(w, expected.detach()) < 2e-6);
}
