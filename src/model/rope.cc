#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fathom {
namespace {

double yarn_mscale(double factor, double mscale) {
    return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

/// The pair index whose wavelength fits `rotations` times into the original context.
double pair_with_rotations(const ModelConfig& config, double rotations) {
    const double context = config.yarn->original_max_position_embeddings;
    return config.qk_rope_head_dim * std::log(context / (2 * std::numbers::pi * rotations)) /
           (2 * std::log(config.rope_theta));
}

/// Pairs that turn often keep their frequency, pairs that never complete a turn within the
/// original context are slowed down by `factor`, and those between are blended linearly.
void apply_yarn(const ModelConfig& config, std::vector<double>& inverse_frequency) {
    const YarnConfig& yarn = *config.yarn;
    const double low = std::max(std::floor(pair_with_rotations(config, yarn.beta_fast)), 0.0);
    double high = std::min(std::ceil(pair_with_rotations(config, yarn.beta_slow)),
                           config.qk_rope_head_dim - 1.0);
    if (low == high) high += 0.001;
    for (size_t pair = 0; pair < inverse_frequency.size(); ++pair) {
        const double ramp =
            std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
        double& theta = inverse_frequency[pair];
        theta = theta / yarn.factor * ramp + theta * (1.0 - ramp);
    }
}

}  // namespace

Rope make_rope(const ModelConfig& config) {
    Rope rope;
    const double width = config.qk_rope_head_dim;
    rope.inverse_frequency.resize(static_cast<size_t>(config.qk_rope_head_dim) / 2);
    for (size_t pair = 0; pair < rope.inverse_frequency.size(); ++pair) {
        rope.inverse_frequency[pair] =
            std::pow(config.rope_theta, -2.0 * static_cast<double>(pair) / width);
    }
    rope.softmax_scale = 1 / std::sqrt(static_cast<double>(config.qk_nope_head_dim) + width);
    if (!config.yarn) return rope;
    apply_yarn(config, rope.inverse_frequency);
    const YarnConfig& yarn = *config.yarn;
    // mscale_all_dim enters the scores twice, by query and by key. Forgetting it gives fluent but
    // degraded text. The two mscales are equal in every released model, so their ratio is 1.
    const double all_dim = yarn_mscale(yarn.factor, yarn.mscale_all_dim);
    rope.softmax_scale *= all_dim * all_dim;
    rope.magnitude =
        yarn.attention_factor.value_or(yarn_mscale(yarn.factor, yarn.mscale) / all_dim);
    return rope;
}

}  // namespace fathom
