#pragma once

#include "dialect/dialect.h"

// One object a release, each in the file of its name. The variants are third-party templates that
// are in wide use with these models; a folder that carries one is rendered as it says.
namespace fathom {

extern const Dialect kDeepSeekV2;
extern const Dialect kDeepSeekV25;
extern const Dialect kDeepSeekV3;
extern const Dialect kDeepSeekR1;
extern const Dialect kDeepSeekR1Qwen;      // variant
extern const Dialect kDeepSeekR1LlamaCpp;  // variant
extern const Dialect kDeepSeekR1May;       // R1-0528
extern const Dialect kDeepSeekV31;      // as the template in wide use has it
extern const Dialect kDeepSeekV31Card;  // as the model card has it

/// The content of message `index`, which must have one.
const std::string& content_of(std::span<const Message> messages, size_t index);

/// What follows the last, or with `first` the first </think> of an earlier answer.
std::string_view without_reasoning(std::string_view content, bool first = false);

}  // namespace fathom
