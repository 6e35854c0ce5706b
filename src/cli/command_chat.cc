#include <cstdio>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"
#include "cli/tokens.h"

namespace fathom::cli {
namespace {

constexpr Flag kOwnFlags[] = {
    {"--system", "TEXT", "instructions before the conversation"},
};
const std::vector<Flag>& flags() {
    static const auto* all = new std::vector<Flag>(with_generate_flags(kOwnFlags));
    return *all;
}

struct Turn {
    int32_t role;
    std::string text;
    std::string reasoning;
};

constexpr std::string_view kHelp =
    "/think and /no-think switch reasoning, /reset starts over, /help shows this, /quit or Ctrl-D "
    "ends; Ctrl-C ends an answer\n";

/// False at the end of the input.
bool read_question(std::string& question) {
    if (stdin_is_terminal()) print("> ");
    question.clear();
    int c;
    while ((c = getc(stdin)) != EOF && c != '\n') question.push_back(static_cast<char>(c));
    return c != EOF || !question.empty();
}

/// A conversation: all turns are rendered each time, and the session computes only what is new.
class Conversation {
public:
    Conversation(const LoadedModel& loaded, const CommandLine& line)
        : loaded_(loaded), settings_(line), thinking_(thinking_of(line)) {
        if (line.has("--system")) {
            system_ = line.required("--system");
        }
        fathom_session* handle = nullptr;
        Outcome outcome;
        outcome = fathom_session_create(loaded.model.get(), nullptr, &handle, outcome);
        session_.reset(handle);
        reset();
    }

    void reset() {
        turns_.clear();
        if (!system_.empty()) turns_.push_back({FATHOM_ROLE_SYSTEM, system_, ""});
    }

    void set_thinking(int32_t thinking) { thinking_ = thinking; }

    void ask(const std::string& question) {
        turns_.push_back({FATHOM_ROLE_USER, question, ""});
        const Prompt prompt = new_prompt(loaded_.tokenizer.get(), thinking_, loaded_.dialect);
        for (const Turn& turn : turns_) {
            add_message(prompt.get(), turn.role, turn.text, turn.reasoning);
        }
        bool in_reasoning = false;
        const InterruptScope interrupt;
        const Answer answer =
            generate(session_.get(), prompt.get(), settings_.options,
                     [&](int32_t type, std::string_view piece) {
                         const bool reasoning = type == FATHOM_EVENT_REASONING;
                         if (in_reasoning && !reasoning) print("\n");
                         in_reasoning = reasoning;
                         print(reasoning ? dim(piece) : std::string(piece));
                     });
        print("\n");
        turns_.push_back({FATHOM_ROLE_ASSISTANT, answer.text, answer.reasoning});
        show_usage(answer);
    }

private:
    static void show_usage(const Answer& answer) {
        if (!stdout_is_terminal()) return;
        const fathom_usage& usage = answer.usage;
        const uint64_t tokens = usage.reasoning_tokens + usage.output_tokens;
        std::string text = std::to_string(usage.prompt_fresh) + " new and " +
                           std::to_string(usage.prompt_cached) + " cached prompt tokens, " +
                           std::to_string(tokens) + " generated";
        if (usage.decode_ns > 0 && tokens > 1) {
            const double seconds = static_cast<double>(usage.decode_ns) * 1e-9;
            text += ", " + decimals(static_cast<double>(tokens - 1) / seconds, 1) + " tokens/s";
        }
        if (answer.finish_reason != FATHOM_FINISH_END_OF_TURN) {
            text += std::string(", ended by ") + finish_name(answer.finish_reason);
        }
        print(dim(text) + "\n");
    }

    const LoadedModel& loaded_;
    GenerateOptions settings_;
    int32_t thinking_;
    std::string system_;
    Session session_;
    std::vector<Turn> turns_;
};

int run_chat(const CommandLine& line) {
    const LoadedModel loaded(line);
    if (loaded.tokenizer == nullptr) throw Failure("the folder has no tokenizer");
    Conversation conversation(loaded, line);
    if (stdin_is_terminal()) print(dim(kHelp));
    std::string question;
    while (read_question(question)) {
        if (question.empty()) continue;
        if (question == "/quit") break;
        if (question == "/help") {
            print(kHelp);
        } else if (question == "/reset") {
            conversation.reset();
        } else if (question == "/think") {
            conversation.set_thinking(FATHOM_THINKING_ON);
        } else if (question == "/no-think") {
            conversation.set_thinking(FATHOM_THINKING_OFF);
        } else {
            conversation.ask(question);
        }
    }
    return 0;
}

}  // namespace

const Command kChat{
    "chat", "talk to a model; answers stream, reasoning is shown apart",
    "  fathom chat --model examples/demo-model/model --think\n"
    "  printf 'What is 12 + 30?\\n' | fathom chat --think --model examples/demo-model/model\n",
    flags(), 0, run_chat};

}  // namespace fathom::cli
