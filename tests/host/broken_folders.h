#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// Checkpoint folders with one thing wrong, after groups A, C and D of the list of bad inputs, for
// tests of what an engine does with them. What exactly is found in each, tests/hostile asks of the
// readers themselves.
namespace host {

/// A folder that a test writes into.
class Folder {
public:
    explicit Folder(std::string path) : path_(std::move(path)) {}
    const std::string& path() const { return path_; }
    std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }
    std::string read(std::string_view name) const;
    /// Creates or replaces a file, a link, or a file of which all but the beginning is a hole.
    void write(std::string_view name, std::string_view bytes) const;
    void link(std::string_view name, const std::string& target) const;
    void write_sparse(std::string_view name, std::string_view beginning, uint64_t bytes) const;
    void remove(std::string_view name) const;

private:
    std::string path_;
};

/// A sharded FP8 checkpoint and the demo model's tokenizer: a folder in which nothing is wrong.
void write_good_folder(const Folder& folder);

/// Puts a SentencePiece model in the place of tokenizer.json.
void write_sentencepiece_folder(const Folder& folder, std::string_view model);
/// A model of seven pieces.
std::string good_sentencepiece_model();

struct BrokenFolder {
    std::string name;
    int32_t load;       // the status of fathom_model_load()
    int32_t estimate;   // of fathom_model_estimate() and fathom_model_inspect()
    int32_t tokenizer;  // of fathom_tokenizer_open()
    std::function<void(const Folder&)> break_it;
};

/// Ways to break the good folder, by the part that is wrong.
std::vector<BrokenFolder> broken_safetensors();
std::vector<BrokenFolder> broken_links_and_indices();
std::vector<BrokenFolder> broken_configs();
std::vector<BrokenFolder> broken_tensors();
std::vector<BrokenFolder> broken_tokenizers();
std::vector<BrokenFolder> broken_sentencepiece_models();
/// All of them.
std::vector<BrokenFolder> broken_folders();

}  // namespace host
