#pragma once

#include <string_view>

// Spellings of DeepSeek's control tokens: the bars are U+FF5C, the blanks U+2581.
namespace fathom {

inline constexpr std::string_view kBosToken = "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>";
inline constexpr std::string_view kEosToken = "<\uFF5Cend\u2581of\u2581sentence\uFF5C>";
inline constexpr std::string_view kUserToken = "<\uFF5CUser\uFF5C>";
inline constexpr std::string_view kAssistantToken = "<\uFF5CAssistant\uFF5C>";
inline constexpr std::string_view kCallsBegin = "<\uFF5Ctool\u2581calls\u2581begin\uFF5C>";
inline constexpr std::string_view kCallsEnd = "<\uFF5Ctool\u2581calls\u2581end\uFF5C>";
inline constexpr std::string_view kCallBegin = "<\uFF5Ctool\u2581call\u2581begin\uFF5C>";
inline constexpr std::string_view kCallEnd = "<\uFF5Ctool\u2581call\u2581end\uFF5C>";
inline constexpr std::string_view kOutputsBegin = "<\uFF5Ctool\u2581outputs\u2581begin\uFF5C>";
inline constexpr std::string_view kOutputsEnd = "<\uFF5Ctool\u2581outputs\u2581end\uFF5C>";
inline constexpr std::string_view kOutputBegin = "<\uFF5Ctool\u2581output\u2581begin\uFF5C>";
inline constexpr std::string_view kOutputEnd = "<\uFF5Ctool\u2581output\u2581end\uFF5C>";
inline constexpr std::string_view kToolSeparator = "<\uFF5Ctool\u2581sep\uFF5C>";
inline constexpr std::string_view kSearchBegin = "<\uFF5Csearch\u2581begin\uFF5C>";
inline constexpr std::string_view kPadToken = "<\uFF5C\u2581pad\u2581\uFF5C>";
inline constexpr std::string_view kThinkBegin = "<think>";
inline constexpr std::string_view kThinkEnd = "</think>";

}  // namespace fathom
