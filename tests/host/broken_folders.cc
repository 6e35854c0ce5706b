#include "host/broken_folders.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "abi/library_handles.h"

namespace host {

std::string Folder::read(std::string_view name) const {
    std::ifstream file(path(name), std::ios::binary);
    REQUIRE(file.good());
    return {std::istreambuf_iterator<char>(file), {}};
}

void Folder::write(std::string_view name, std::string_view bytes) const {
    remove(name);
    std::ofstream file(path(name), std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    REQUIRE(file.good());
}

void Folder::link(std::string_view name, const std::string& target) const {
    remove(name);
    std::filesystem::create_symlink(target, path(name));
}

void Folder::write_sparse(std::string_view name, std::string_view beginning,
                          uint64_t bytes) const {
    write(name, beginning);
    std::filesystem::resize_file(path(name), bytes);
}

void Folder::remove(std::string_view name) const {
    std::error_code ignored;
    std::filesystem::remove_all(path(name), ignored);
}

void write_good_folder(const Folder& folder) {
    const auto copy = [&](const std::string& from, const char* name) {
        folder.write(name, Folder(from).read(name));
    };
    for (const char* name :
         {"config.json", "model.safetensors.index.json", "model-00001-of-00003.safetensors",
          "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"}) {
        copy(library::fixture("v3-fp8"), name);
    }
    copy(library::demo_model(), "tokenizer.json");
    copy(library::demo_model(), "tokenizer_config.json");
}

std::vector<BrokenFolder> broken_folders() {
    std::vector<BrokenFolder> all;
    for (const auto& part :
         {broken_safetensors(), broken_links_and_indices(), broken_configs(), broken_tensors(),
          broken_tokenizers(), broken_sentencepiece_models()}) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

}  // namespace host
