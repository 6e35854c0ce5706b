#include "ptx/ptx_parser.h"

#include <cstring>

#include "ptx/ptx_parsing.h"

namespace virtual_gpu {
namespace {

// A limit against a damaged declaration, not one of PTX: the largest array in bytes.
constexpr uint64_t kMaxVariableBytes = uint64_t{1} << 32;

}  // namespace

void Parser::module_statement() {
    const std::string_view word = at_.word("directive");
    if (word == ".version") {
        module_->version = std::string(at_.next().text) + std::string(at_.next().text);
    } else if (word == ".target") {
        module_->target = at_.word("target");
        while (at_.accept(',')) {
            at_.word("target option");
        }
    } else if (word == ".address_size") {
        if (at_.integer() != 64) {
            at_.fail("only 64-bit addresses are supported");
        }
    } else if (word == ".file") {
        file_directive();
    } else if (word == ".section") {
        skip_section();
    } else if (word == ".visible" || word == ".weak" || word == ".extern" || word == ".common") {
        return;  // Linkage: there is one module, so every name is visible.
    } else if (word == ".entry" || word == ".func") {
        entry(word == ".entry");
    } else if (word == ".global" || word == ".const" || word == ".shared") {
        const Space space = word == ".global"  ? Space::kGlobal
                            : word == ".const" ? Space::kConst
                                               : Space::kShared;
        module_->variables.push_back(declaration(space));
        at_.expect(';');
    } else {
        throw PtxError(at_.line(), "directive '" + std::string(word) + "' is not supported");
    }
}

void Parser::entry(bool is_kernel) {
    module_->functions.push_back(std::make_unique<PtxFunction>());
    function_ = module_->functions.back().get();
    function_->is_entry = is_kernel;
    location_ = 0;
    if (!is_kernel && at_.accept('(')) {
        parameters(&function_->results);
    }
    function_->name = at_.word("name of the function");
    if (at_.accept('(')) {
        parameters(&function_->parameters);
    }
    if (!is_kernel && at_.accept(';')) {
        module_->functions.pop_back();  // Declared only; the definition comes, or a call fails.
        function_ = nullptr;
        return;
    }
    attributes();
    body();
    function_ = nullptr;
}

// Those of a function lie in its callers' local memory: nobody else sees them.
void Parser::parameters(std::deque<PtxVariable>* out) {
    if (at_.accept(')')) {
        return;
    }
    do {
        if (!at_.accept(".param")) {
            at_.fail("'.param' expected");
        }
        out->push_back(declaration(function_->is_entry ? Space::kParam : Space::kLocal));
    } while (at_.accept(','));
    at_.expect(')');
}

void Parser::attributes() {
    const auto triple = [this](uint32_t* out) {
        out[0] = static_cast<uint32_t>(at_.integer());
        out[1] = at_.accept(',') ? static_cast<uint32_t>(at_.integer()) : 1;
        out[2] = at_.accept(',') ? static_cast<uint32_t>(at_.integer()) : 1;
    };
    while (!at_.peek().is('{')) {
        const std::string_view word = at_.word("attribute or '{'");
        if (word == ".maxntid") {
            uint32_t n[3];
            triple(n);
            function_->max_threads = n[0] * n[1] * n[2];
        } else if (word == ".reqntid") {
            triple(function_->required_threads);
        } else if (word == ".reqnctapercluster") {
            triple(function_->cluster);
        } else if (word == ".minnctapersm" || word == ".maxnreg" || word == ".maxclusterrank") {
            at_.integer();  // Hints to ptxas.
        } else if (word == ".noreturn") {
            continue;
        } else if (word != ".explicitcluster" && word != ".blocksareclusters") {
            throw PtxError(at_.line(), "attribute '" + std::string(word) + "' is not supported");
        }
    }
}

void Parser::body() {
    at_.expect('{');
    scopes_.open();
    while (!scopes_.is_empty()) {
        if (at_.accept('{')) {
            scopes_.open();
        } else if (at_.accept('}')) {
            scopes_.close(function_);
        } else if (!at_.accept(';')) {
            body_statement();
        }
    }
}

void Parser::body_statement() {
    const Token& first = at_.peek();
    if (first.kind == TokenKind::kWord && at_.peek(1).is(':')) {
        const std::string_view name = at_.next().text;
        at_.expect(':');
        if (at_.accept(".branchtargets")) {
            branch_targets(name);
        } else {
            const int next = static_cast<int>(function_->instructions.size());
            scopes_.declare_label(name, next, first.line);
        }
    } else if (first.kind == TokenKind::kWord && first.text[0] == '.') {
        body_directive();
    } else {
        instruction();
    }
}

void Parser::body_directive() {
    const std::string_view word = at_.next().text;
    if (word == ".loc") {
        loc_directive();
    } else if (word == ".reg") {
        declare_registers(at_.word("register type"));
    } else if (word.substr(0, 5) == ".reg.") {  // As some of NVIDIA's headers write it.
        declare_registers(word.substr(4));
    } else if (word == ".shared" || word == ".local" || word == ".param") {
        const Space space = word == ".shared" ? Space::kShared : Space::kLocal;
        function_->variables.push_back(declaration(space));
        at_.expect(';');
    } else if (word == ".pragma") {
        while (!at_.accept(';')) {
            at_.next();  // Hints to ptxas ("nounroll").
        }
    } else {
        throw PtxError(at_.line(), "directive '" + std::string(word) + "' is not supported here");
    }
}

void Parser::declare_registers(std::string_view type_word) {
    const Type type = type_named(type_word.substr(1));
    if (type == Type::kNone) {
        throw PtxError(at_.line(), "register type '" + std::string(type_word) + "' is unknown");
    }
    const auto declare = [this, type](const std::string& name) {
        scopes_.declare_register(name, static_cast<int>(function_->registers.size()), at_.line());
        function_->registers.push_back({name, type});
    };
    do {
        const std::string name(at_.word("register name"));
        if (!at_.accept('<')) {
            declare(name);
            continue;
        }
        const uint64_t count = at_.integer();
        at_.expect('>');
        for (uint64_t i = 0; i < count; i++) {
            declare(name + std::to_string(i));
        }
    } while (at_.accept(','));
    at_.expect(';');
}

// '.align 16 .b8 name[32] = {...}' or '.u64 .ptr .global .align 1 name': what follows the space.
PtxVariable Parser::declaration(Space space) {
    PtxVariable variable;
    variable.space = space;
    bool is_pointer = false;
    uint32_t align = 0;
    while (at_.peek().kind == TokenKind::kWord && at_.peek().text[0] == '.') {
        const std::string_view word = at_.next().text;
        if (word == ".align") {
            // '.ptr .align' speaks of the memory pointed to, not of the parameter.
            const auto value = static_cast<uint32_t>(at_.integer());
            align = is_pointer ? align : value;
        } else if (word == ".ptr") {
            is_pointer = true;
        } else if (is_pointer && (word == ".global" || word == ".const" || word == ".shared")) {
            continue;
        } else if (type_named(word.substr(1)) != Type::kNone) {
            variable.type = type_named(word.substr(1));
        } else {
            throw PtxError(at_.line(), "'" + std::string(word) + "' in a declaration");
        }
    }
    variable.name = at_.word("name of a variable");
    const uint64_t element = type_bits(variable.type) / 8;
    if (element == 0) {
        at_.fail("declaration of '" + variable.name + "' has no type");
    }
    variable.bytes = element;
    while (at_.accept('[')) {
        if (at_.accept(']')) {
            variable.is_dynamic = true;
            variable.bytes = 0;
            continue;
        }
        variable.bytes *= at_.integer();
        at_.expect(']');
        if (variable.bytes > kMaxVariableBytes) {
            at_.fail("'" + variable.name + "' is too large");
        }
    }
    variable.align = align != 0 ? align : static_cast<uint32_t>(element);
    if (at_.accept('=')) {
        initial_values(&variable);
    }
    return variable;
}

void Parser::initial_values(PtxVariable* variable) {
    const uint64_t element = type_bits(variable->type) / 8;
    variable->initial.assign(variable->bytes, 0);
    uint64_t at = 0;
    int depth = 0;
    do {
        while (at_.accept('{')) {
            depth += 1;
        }
        if (!at_.peek().is('}')) {
            if (at_.peek().kind == TokenKind::kWord) {
                at_.fail("an address as initial value is not supported");
            }
            const uint64_t bits = number().bits;
            if (at + element > variable->bytes) {
                at_.fail("'" + variable->name + "' has too many initial values");
            }
            std::memcpy(variable->initial.data() + at, &bits, element);
            at += element;
        }
        while (depth > 0 && at_.accept('}')) {
            depth -= 1;
        }
    } while (depth > 0 && at_.accept(','));
    if (depth != 0) {
        at_.fail("'}' expected");
    }
}

void Parser::file_directive() {
    const auto number = static_cast<uint32_t>(at_.integer());
    if (at_.peek().kind != TokenKind::kString) {
        at_.fail("file name expected");
    }
    module_->files[number] = at_.next().text;
    while (at_.accept(',')) {
        at_.integer();  // Time stamp and size.
    }
}

// '.loc 2 267 49, function_name $L__info_string0, inlined_at 1 11 5'
void Parser::loc_directive() {
    SourceLocation location;
    location.file = static_cast<uint32_t>(at_.integer());
    location.line = static_cast<uint32_t>(at_.integer());
    at_.integer();  // Column.
    while (at_.accept(',')) {
        if (at_.accept("function_name")) {
            at_.word("label");
            if (at_.accept('+')) {
                at_.integer();
            }
        } else if (at_.accept("inlined_at")) {
            location.inlined_file = static_cast<uint32_t>(at_.integer());
            location.inlined_line = static_cast<uint32_t>(at_.integer());
            at_.integer();
        } else {
            at_.fail("'function_name' or 'inlined_at' expected");
        }
    }
    // Line 0 marks compiler-made code; the line before is of more use to a reader.
    if (location.line != 0) {
        location_ = static_cast<uint32_t>(module_->locations.size());
        module_->locations.push_back(location);
    }
}

void Parser::skip_section() {
    while (!at_.accept('{')) {
        at_.word("section name");
    }
    for (int depth = 1; depth > 0;) {
        if (at_.at_end()) {
            at_.fail("'}' expected");
        }
        depth += at_.peek().is('{') ? 1 : at_.peek().is('}') ? -1 : 0;
        at_.next();
    }
}

void Parser::branch_targets(std::string_view name) {
    const int table = static_cast<int>(function_->branch_tables.size());
    scopes_.declare_table(name, table);
    function_->branch_tables.emplace_back();
    do {
        const int line = at_.line();
        const int entry = static_cast<int>(function_->branch_tables.back().size());
        function_->branch_tables.back().push_back(-1);
        scopes_.table_entry(table, entry, at_.word("label"), line);
    } while (at_.accept(','));
    at_.expect(';');
}

std::unique_ptr<PtxModule> parse_ptx(std::string text) {
    auto module = std::make_unique<PtxModule>();
    module->text = std::move(text);
    Parser(module.get()).run();
    return module;
}

}  // namespace virtual_gpu
