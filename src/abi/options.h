#pragma once

#include <string>

#include "engine/engine_options.h"
#include "engine/generate_options.h"
#include "fathom/fathom.h"

// The option structs of the interface as the core's own: copied, checked, with owned memory.
namespace fathom::abi {

EngineOptions engine_options_of(const fathom_engine_options* options);
ModelOptions model_options_of(const fathom_model_options* options);
GenerateOptions generate_options_of(const fathom_generate_options* options);
/// The folder that a source names.
std::string folder_of(const fathom_source* source);

}  // namespace fathom::abi
