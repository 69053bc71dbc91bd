#include "NAME.h"

static void read_token(NAME_state *state, NAME_text *text, int32_t token)
{
    NAME_step(state, token, text->logits);
    NAME_remember(text, token);
    text->ready = 1;
}

static int all_tokens(const int32_t *tokens, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= NAME_VOCABULARY)
            return 0;
    return 1;
}

NAME_ending NAME_generate(NAME_state *state, NAME_text *text, const NAME_sampler *sampler, const int32_t *prompt,
                          int32_t prompt_tokens, int32_t limit, int (*take)(int32_t token, void *user), void *user)
{
    int32_t i, token;
    if (!all_tokens(prompt, prompt_tokens))
        return NAME_FAILED;
    for (i = 0; i < prompt_tokens; i++)
        read_token(state, text, prompt[i]);
    while (limit != 0) {
        token = text->ready ? NAME_draw(sampler, text, text->logits) : -1;
        if (token < 0)
            return NAME_FAILED;
        read_token(state, text, token);
        if (token == NAME_END)
            return NAME_AT_END;
        if (take(token, user) != 0)
            return NAME_STOPPED;
        if (limit > 0)
            limit--;
    }
    return NAME_AT_LIMIT;
}
