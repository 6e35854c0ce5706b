#pragma once

#include <vector>

#include "model/config.h"

namespace fathom {

/// What RoPE and YaRN make of a config, in double: the backend rounds once, at the end.
struct Rope {
    std::vector<double> inverse_frequency;  // [qk_rope_head_dim / 2]
    double magnitude = 1;      // multiplies cos and sin
    double softmax_scale = 1;  // (qk_nope + qk_rope)^-0.5 * mscale^2, at every position
};

Rope make_rope(const ModelConfig& config);

}  // namespace fathom
