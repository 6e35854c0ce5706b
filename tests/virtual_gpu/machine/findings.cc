#include "machine/findings.h"

namespace virtual_gpu {

std::string describe(const Finding& finding) {
    std::string text = finding.kind + " " + finding.where + ": " + finding.instruction + " in " +
                       finding.kernel + ", block (" + std::to_string(finding.block[0]) + "," +
                       std::to_string(finding.block[1]) + "," + std::to_string(finding.block[2]) +
                       ") thread " + std::to_string(finding.thread) + ": " + finding.detail;
    if (finding.count > 1) {
        text += " (" + std::to_string(finding.count - 1) + " more)";
    }
    return text;
}

void Findings::add(Finding finding) {
    const std::string key =
        finding.kind + '\n' + finding.kernel + '\n' + finding.where + '\n' + finding.instruction;
    const auto known = index_.find(key);
    if (known != index_.end()) {
        list_[known->second].count += 1;
        return;
    }
    if (list_.size() >= kMax) {
        return;
    }
    finding.count = 1;
    index_[key] = list_.size();
    list_.push_back(std::move(finding));
}

void Findings::clear() {
    list_.clear();
    index_.clear();
}

}  // namespace virtual_gpu
