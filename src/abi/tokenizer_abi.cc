#include <algorithm>
#include <cstring>

#include "abi/guard.h"
#include "abi/handles.h"
#include "abi/options.h"
#include "abi/structs.h"

using namespace fathom;
using namespace fathom::abi;

int32_t fathom_tokenizer_open(const fathom_source* source, fathom_tokenizer** tokenizer,
                              fathom_error** error) {
    return guard(error, [&] {
        require(tokenizer, "tokenizer");
        const Directory folder(folder_of(source));
        std::shared_ptr<const Tokenizer> opened = Tokenizer::open(folder);
        const Dialect* dialect = &detect_dialect(*opened);
        *tokenizer = new fathom_tokenizer{{}, std::move(opened), dialect};
    });
}

int32_t fathom_tokenizer_encode(const fathom_tokenizer* tokenizer, const char* text,
                                uint64_t text_bytes, uint32_t flags, int32_t* ids,
                                uint64_t capacity, uint64_t* count, fathom_error** error) {
    return guard(error, [&] {
        require(tokenizer, "tokenizer");
        if ((flags & ~(FATHOM_ENCODE_SPECIAL | FATHOM_ENCODE_BOS)) != 0) {
            fail(Status::kInvalidArgument, "flags: found unknown bits in ", flags);
        }
        const Tokenizer& inner = *tokenizer->tokenizer;
        std::vector<int32_t> out;
        if ((flags & FATHOM_ENCODE_BOS) != 0 && inner.bos_id() >= 0) out.push_back(inner.bos_id());
        inner.encode(text_of(text, text_bytes, "text"), (flags & FATHOM_ENCODE_SPECIAL) != 0, out);
        copy_out(out, ids, capacity, count);
    });
}

int32_t fathom_tokenizer_decode(const fathom_tokenizer* tokenizer, const int32_t* ids,
                                uint64_t n_ids, uint32_t flags, char* text, uint64_t capacity,
                                uint64_t* count, fathom_error** error) {
    return guard(error, [&] {
        require(tokenizer, "tokenizer");
        if (ids == nullptr && n_ids != 0) fail(Status::kInvalidArgument, "ids: found NULL");
        if ((flags & ~FATHOM_DECODE_SKIP_SPECIAL) != 0) {
            fail(Status::kInvalidArgument, "flags: found unknown bits in ", flags);
        }
        std::string out;
        tokenizer->tokenizer->decode({ids, n_ids}, (flags & FATHOM_DECODE_SKIP_SPECIAL) != 0, out);
        copy_out(out, text, capacity, count);
    });
}

int32_t fathom_tokenizer_describe(const fathom_tokenizer* tokenizer,
                                  fathom_tokenizer_description* description,
                                  fathom_error** error) {
    return guard(error, [&] {
        require(tokenizer, "tokenizer");
        const Tokenizer& inner = *tokenizer->tokenizer;
        fathom_tokenizer_description out = {};
        out.n_tokens = inner.size();
        out.bos_id = inner.bos_id();
        out.eos_id = inner.eos_id();
        out.pad_id = inner.pad_id();
        out.adds_bos = inner.add_bos() ? 1 : 0;
        out.fingerprint = inner.fingerprint();
        copy_name(tokenizer->dialect->name(), out.dialect);
        write_result(out, description);
    });
}

void fathom_tokenizer_release(fathom_tokenizer* tokenizer) {
    guard_release([&] { retire(tokenizer); });
}
