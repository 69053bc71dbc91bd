/* Why a text ended. */
typedef enum {
    NAME_AT_LIMIT,    /* it has the desired number of tokens */
    NAME_AT_END,      /* the network predicted the end */
    NAME_STOPPED,     /* the caller's function stopped it */
    NAME_FAILED       /* the prompt has a token outside the vocabulary, no token was read yet, or NAME_draw returned -1 */
} NAME_ending;

/* Read the tokens of a prompt, then draw tokens, read each of them, and hand it to `take`, until the text ends.

   prompt, prompt_tokens: what is read first; a prompt with a token outside the vocabulary is not read at all. It may be
   empty when the text has been begun before: then it goes on.
   limit: the largest number of tokens to draw; below 0 for any number.
   take: gets each token except NAME_END, and `user`. It stops the text by returning anything but 0; state and text then
   are those after this token. */
NAME_ending NAME_generate(NAME_state *state, NAME_text *text, const NAME_sampler *sampler, const int32_t *prompt,
                          int32_t prompt_tokens, int32_t limit, int (*take)(int32_t token, void *user), void *user);
