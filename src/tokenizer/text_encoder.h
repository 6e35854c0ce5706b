#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// How one kind of tokenizer turns text into ids. Immutable; any thread.
class TextEncoder {
public:
    virtual ~TextEncoder() = default;

    /// Appends the ids of `text`, any bytes. With `parse_special` spelled-out added tokens become
    /// their ids; without, no id of an added token comes out, whatever the text spells.
    virtual void encode(std::string_view text, bool parse_special,
                        std::vector<int32_t>& out) const = 0;

    /// Id of the ordinary token with these bytes, or -1.
    virtual int32_t find(std::string_view bytes) const = 0;

    /// Appends the text of `ids`, which are in range.
    virtual void decode(std::span<const int32_t> ids, bool skip_special,
                        std::string& out) const = 0;
};

}  // namespace fathom
